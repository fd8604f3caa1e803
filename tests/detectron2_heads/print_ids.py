"""train_net that prints the ids of the images of every training step."""

from detectron2_heads.train_net import Trainer, run


class PrintingTrainer(Trainer):
    """:class:`Trainer` that prints what its model is trained on."""

    @classmethod
    def build_model(cls, cfg):
        model = super().build_model(cfg)

        def show(model, inputs):
            if model.training:
                print("IDS", [image["image_id"] for image in inputs[0]])

        model.register_forward_pre_hook(show)
        return model


if __name__ == "__main__":
    run(PrintingTrainer)
