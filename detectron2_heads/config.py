"""The config keys of the heads, for detectron2's YAML configs."""

from __future__ import annotations

from collections.abc import Sequence

from detectron2.config import CfgNode

HALT = "foreground"
HALT_THRESHOLD = 0.5
LOG_END = 0.75
BONUS_EPS = 1e-5

# Where a stock model is named, the stock names, the keys they ignore, and a name that reads these.
IGNORED = (
    (
        "MODEL.META_ARCHITECTURE",
        ("RetinaNet",),
        {"MODEL.RETINANET.HALT": HALT, "MODEL.RETINANET.HALT_THRESHOLD": HALT_THRESHOLD},
        "HaltedFocalRetinaNet",
    ),
    (
        "MODEL.ROI_HEADS.NAME",
        ("StandardROIHeads", "Res5ROIHeads", "CascadeROIHeads"),
        {"MODEL.ROI_BOX_HEAD.LOG_END": LOG_END, "MODEL.ROI_BOX_HEAD.BONUS_EPS": BONUS_EPS},
        "EncouragingROIHeads",
    ),
)


def add_halted_focal_config(cfg: CfgNode) -> None:
    """Add the keys of :class:`HaltedFocalRetinaNet` to ``cfg``, with their defaults.

    ``MODEL.RETINANET.HALT`` (``foreground``, ``both`` or ``authors``) and
    ``MODEL.RETINANET.HALT_THRESHOLD`` (phi in (0, 1]; 1 is plain focal loss) are arguments of
    :func:`el_plugins.losses.sigmoid_halted_focal_loss`; alpha and gamma are RetinaNet's own
    ``FOCAL_LOSS_ALPHA`` and ``FOCAL_LOSS_GAMMA``. A config without these keys gets the defaults.
    """
    cfg.MODEL.RETINANET.HALT = HALT
    cfg.MODEL.RETINANET.HALT_THRESHOLD = HALT_THRESHOLD


def add_encouraging_config(cfg: CfgNode) -> None:
    """Add the keys of :class:`EncouragingROIHeads` to ``cfg``, with their defaults.

    ``MODEL.ROI_BOX_HEAD.LOG_END`` (in [0, 1]) and ``MODEL.ROI_BOX_HEAD.BONUS_EPS`` (in [0, 0.5)) are
    arguments of :func:`el_plugins.losses.encouraging_loss`. A config without these keys gets the defaults.
    """
    cfg.MODEL.ROI_BOX_HEAD.LOG_END = LOG_END
    cfg.MODEL.ROI_BOX_HEAD.BONUS_EPS = BONUS_EPS


def merge_options(cfg: CfgNode, options: Sequence[str]) -> None:
    """``cfg.merge_from_list`` that takes a whole number where the config has a float: ``HALT_THRESHOLD 1``.

    Args:
        options: KEY VALUE pairs, flat, as typed.

    Raises:
        ValueError: a key has no value, or one of another type.
        KeyError: the config has no such key.
    """
    if len(options) % 2:
        raise ValueError(f"config options must be pairs of KEY VALUE, got {' '.join(map(str, options))!r}")
    merged: list = list(options)
    for position in range(0, len(merged), 2):
        key, value = merged[position : position + 2]
        if isinstance(_value(cfg, key), float) and str(value).lstrip("+-").isdigit():
            merged[position + 1] = float(value)
    cfg.merge_from_list(merged)


def check_used(cfg: CfgNode) -> None:
    """Raise ValueError where ``cfg`` sets a key of ours, or a head, that its stock model would ignore."""
    for named, stock, defaults, ours in IGNORED:
        name = _value(cfg, named)
        for key, default in defaults.items():
            if name in stock and _value(cfg, key) != default:
                raise ValueError(
                    f"{key} {_value(cfg, key)} would be ignored: {named} must be {ours}, got {name}"
                )
    architecture, heads = cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.ROI_HEADS.NAME
    if architecture in ("RetinaNet", "HaltedFocalRetinaNet") and heads.startswith("Encouraging"):
        raise ValueError(
            f"MODEL.ROI_HEADS.NAME {heads} would be ignored: MODEL.META_ARCHITECTURE {architecture} has none"
        )


def _value(cfg: CfgNode, key: str) -> object:
    """The value of a dotted key; None if the config lacks it: merging then raises."""
    node: object = cfg
    for name in key.split("."):
        node = node.get(name) if isinstance(node, CfgNode) else None
    return node
