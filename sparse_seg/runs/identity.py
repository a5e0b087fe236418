"""What a run is: its folder's name and the configuration that its figures depend on."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from sparse_seg.errors import UserError
from sparse_seg.names import canonical

AXES = ("loss", "points", "augment", "split", "seed")
GROUPS = ("data", "model", "loss", "augment", "optimizer", "scheduler", "method", "prior")
# Values that change where and how fast a run computes, but no figure.
NEUTRAL = (
    "study", "overwrite", "output_dir", "logger", "callbacks.progress", "callbacks.history", "callbacks.checkpoint",
    "callbacks.panels", "data.root", "data.source.root", "data.cache_dir", "data.num_workers", "trainer.accelerator",
    "data.source.points_file", "data.allow_empty_classes", "scores",
)  # fmt: skip
FILES = ("model.encoder_weights", "data.points_file", "prior.shares")
NO_FILE = {"model.encoder_weights": "imagenet"}
"""What stands there instead of a file."""
SHORT = {"data.fold": "fold", "data.val_tiles": "val_tiles"}
MAX_NAME = 200
CONTENT = "data.content"
"""The data set's contents, as a digest; runs of before it was recorded lack it."""

Flat = dict[str, Any]


def flatten(cfg: DictConfig | Mapping[str, Any]) -> Flat:
    """{"data": {"size": 256}} → {"data.size": 256}, without the neutral keys. Lists stay values."""
    plain = OmegaConf.to_container(cfg, resolve=False) if isinstance(cfg, DictConfig | ListConfig) else cfg
    flat: Flat = {}

    def walk(node: Any, path: str) -> None:
        if any(path == n or path.startswith(n + ".") for n in NEUTRAL):
            return
        if isinstance(node, Mapping):
            for key, value in node.items():
                walk(value, f"{path}.{key}" if path else str(key))
        else:
            flat[path] = node

    walk(plain, "")
    return flat


def folder_name(cfg: DictConfig, defaults: DictConfig, choices: Mapping[str, str]) -> str:
    """`loss=focal,points=20,augment=report,split=random,seed=0`, then every other value that is not the default.

    cfg: the run's configuration. defaults: the one with the same choice of each group and nothing else changed.
    choices: group → its chosen YAML, "loss" → "focal". A name that would be too long for a file system ends in a hash.
    """
    parts = [f"{a}={_value(a, choices[a] if a in GROUPS else cfg[a])}" for a in AXES]
    if cfg.data.get("root") and not defaults.data.get("root"):  # data of the user's own
        parts.append(f"root={_value('data.root', Path(str(cfg.data.root)).name)}")
    parts += [f"{g}={choices[g]}" for g in GROUPS if g not in AXES and choices[g] != DEFAULT_CHOICES[g]]
    mine, usual = flatten(cfg), flatten(defaults)
    changed = [k for k in sorted(mine) if k not in AXES and not (k in usual and _same(mine[k], usual[k]))]
    parts += [f"{SHORT.get(k, k)}={_value(k, mine[k])}" for k in changed]
    name = ",".join(parts)
    if len(name.encode()) > MAX_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:12]
        name = name.encode()[: MAX_NAME - 13].decode(errors="ignore") + "-" + digest
    return name


DEFAULT_CHOICES = {
    "data": "dubai",
    "model": "unet",
    "optimizer": "adam",
    "scheduler": "none",
    "method": "points",
    "prior": "none",
}


def _value(key: str, value: Any) -> str:
    if key in FILES and isinstance(value, str):
        text = Path(value).name
    else:
        text = json.dumps(_plain(value), ensure_ascii=False).strip('"')
    return text.replace("/", "-").replace(", ", "-").replace(" ", "_")


def _plain(value: Any) -> Any:
    """1 and 1.0 are one value, and have one name."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _same(a: Any, b: Any) -> bool:
    """Equal as values: 224 and 224.0 are one size, True and 1 are not one thing."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def axes(cfg: DictConfig, choices: Mapping[str, str]) -> Flat:
    """Where a run stands in the tables, as its result says it: study, method, loss, points, augmentation, split.

    choices: group → its chosen YAML, "loss" → "focal".
    """
    named = {"study": cfg.study, "method": choices.get("method", "points"), "prior": choices.get("prior", "none")}
    named |= {"loss": choices["loss"]}
    drawn = {"points": cfg.points, "augment": choices["augment"], "split": cfg.split}
    return named | drawn | {"fold": cfg.data.get("fold"), "seed": cfg.seed}


def known_figures(cfg: DictConfig) -> Flat:
    """`figures` of a run that did not start; a file that cannot be read counts by its name."""
    try:
        return figures(cfg)
    except UserError:
        return flatten(OmegaConf.to_container(cfg, resolve=True))  # type: ignore[arg-type]


def figures(cfg: DictConfig, content: str | None = None) -> Flat:
    """Everything configured that the figures depend on, as plain values that JSON keeps.

    A file counts by its content, and so do the data. content: the data set's, as `ImageSet` has it; None leaves it out.
    Raises UserError for a file that cannot be read.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    flat = flatten(plain) | ({} if content is None else {CONTENT: content})
    for key in FILES:
        path = flat.get(key)
        if isinstance(path, str) and path != NO_FILE.get(key):
            inside = Path(str(plain["data"].get("root")), path)  # a file of points may be named as it lies in there
            if key == "data.points_file" and not Path(path).is_file() and inside.is_file():
                path = str(inside)
            try:
                with open(path, "rb") as f:
                    flat[key] = "sha256:" + hashlib.file_digest(f, "sha256").hexdigest()
            except OSError as e:
                hint = "; choose imagenet, null or a file" if key == "model.encoder_weights" else ""
                raise UserError(f"{key}={path} cannot be read: {e.strerror}{hint}") from e
    return dict(sorted(flat.items()))


def fingerprint(flat: Flat) -> str:
    """SHA-256 of `figures`."""
    return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()


def differing_keys(old: Flat, new: Flat, defaults: Flat) -> list[str]:
    """Keys on which two runs differ, as "key: old → new".

    A key that one of them lacks counts as its default; contents that one of them does not state are no difference.
    """
    differing = []
    old, new, defaults = canonical(old), canonical(new), canonical(defaults)
    unsaid = () if CONTENT in old and CONTENT in new else (CONTENT,)
    for key in sorted((old.keys() | new.keys()).difference(unsaid)):
        a, b = old.get(key, defaults.get(key)), new.get(key, defaults.get(key))
        if not _same(a, b):
            differing.append(f"{key}: {a!r} → {b!r}")
    return differing
