"""detectron2's side of the plugin: RetinaNet with halted focal loss will live here."""
