"""Train one network, or with -m a grid of them. `python train.py --help` lists the words."""

import hydra
from omegaconf import DictConfig

from sparse_seg.runs import schema
from sparse_seg.runs.run import run

schema.register()


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> dict[str, object] | None:
    return run(cfg)


if __name__ == "__main__":
    main()
