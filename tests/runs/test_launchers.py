"""A sweep gives the same runs wherever its jobs run: several at once here, on Slurm, on Ray."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from processes import TIMEOUT, TINY, environment, started, train

from hydra_plugins import processes_launcher
from hydra_plugins.processes_launcher import slots
from sparse_seg.errors import UserError
from sparse_seg.runs import forked, sweep
from sparse_seg.runs.child import Child

WORDS = (*TINY, "data.source._target_=scenes.fragile", "trainer.max_epochs=1", "data.source.seed=0,1,2")


def seeds(study: Path, name: str) -> list[int]:
    """The scene seeds of the runs below a study that hold the file."""
    found = [re.search(r"source\.seed=(\d)", p.parent.name) for p in study.rglob(name)]
    return sorted(int(m[1]) if m else 0 for m in found)


@pytest.fixture
def gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


@pytest.mark.parametrize(
    ("jobs", "per_gpu", "devices", "expected"),
    [
        (None, 1, 1, ["0", "1", "2", "3"]),
        (None, 2, 1, ["0", "1", "2", "3", "0", "1", "2", "3"]),
        (6, 1, 1, ["0", "1", "2", "3", "0", "1"]),
        (2, 1, 1, ["0", "1"]),
        (None, 1, 2, ["0,1", "2,3"]),
        (None, 1, 3, ["0,1,2"]),
        (None, 1, "auto", ["0,1,2,3"]),
    ],
)
def test_jobs_are_dealt_out_to_the_gpus(gpus, jobs, per_gpu, devices, expected):
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(jobs, per_gpu, devices, "auto")] == expected


def test_cpu_threads_are_divided_among_the_jobs(gpus, monkeypatch):
    assert [slot["OMP_NUM_THREADS"] for slot in slots(None, 1, 1, "gpu")] == ["4"] * 4
    assert slots(2, 1, 1, "cpu") == [{"OMP_NUM_THREADS": "8"}] * 2
    assert slots(None, 1, 1, "cpu") == [{"OMP_NUM_THREADS": "2"}] * 8
    assert slots(4, 1, 2, "cpu") == [{"OMP_NUM_THREADS": "2"}] * 4
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert slots(2, 1, 1, "cpu") == [{"OMP_NUM_THREADS": "3"}] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, 1, "cpu"), "hydra.launcher.jobs=0 must be"),
        ((None, -1, 1, "cpu"), "hydra.launcher.jobs_per_gpu=-1 must be"),
        ((None, 1, 8, "gpu"), "trainer.devices=8 is more than the 4 GPUs"),
        ((None, 1, [2, 3], "gpu"), r"trainer.devices=\[2, 3\] must be a number here"),
    ],
)
def test_slots_that_cannot_be_are_refused(gpus, arguments, message):
    with pytest.raises(UserError, match=message):
        slots(*arguments)


def test_a_job_gets_the_variables_of_its_slot(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    code = "import os, sys; sys.exit(os.environ['CUDA_VISIBLE_DEVICES'] + ' ' + os.environ['OMP_NUM_THREADS'])"
    cfg = OmegaConf.create({"trainer": {"accelerator": "auto", "devices": 1}})
    job = Child(1, [], Path("nowhere"), [sys.executable, "-c", code], cfg, {})
    running = processes_launcher._start(OmegaConf.create(), job, {"CUDA_VISIBLE_DEVICES": "2", "OMP_NUM_THREADS": "5"})
    running.process.wait()
    with running.said as said:
        said.seek(0)
        assert said.read().decode().strip() == "2 5"


def test_gpus_are_found_without_torch(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    program.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert forked.visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert forked.visible_gpus() == []


@pytest.mark.parametrize(
    ("launcher", "extra"),
    [("hydra_plugins.hydra_submitit_launcher.x.Y", "slurm"), ("hydra_plugins.hydra_ray_launcher.x.Y", "ray")],
)
def test_a_missing_extra_is_named(monkeypatch, launcher, extra):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"which is not installed; pip install -e '\.\[{extra}\]'"):
        sweep.check_extra(launcher)


@pytest.fixture(scope="module")
def at_once(tmp_path_factory):
    """Three jobs, two at a time; the first one kills itself."""
    cwd = tmp_path_factory.mktemp("processes")
    (cwd / "fate").write_text("0 die")
    return cwd, train("-m", *WORDS, "hydra/launcher=processes", "hydra.launcher.jobs=2", cwd=cwd)


def test_several_jobs_run_at_once_and_one_that_dies_ends_alone(at_once):
    cwd, ended = at_once
    assert ended.code == 1
    said = [line.split(":")[0] for line in ended.out.splitlines() if line.startswith("job ")]
    assert said[:2] == ["job 1 starts", "job 2 starts"]
    assert "2 jobs at a time" in ended.out
    assert seeds(cwd, "result.json") == [1, 2]
    assert seeds(cwd, "failed.json") == [0]
    assert "job 1 failed (killed by signal 9)" in ended.err
    assert "1 of 3 runs failed" in ended.err
    assert "3 of 3 runs ended" in ended.out


def test_the_same_command_of_one_at_a_time_runs_what_failed(at_once):
    """With one thread each, whatever ran beside leaves the figures alone."""
    cwd, _ = at_once
    before = {p: p.read_bytes() for p in cwd.rglob("result.json")}
    (cwd / "fate").write_text("9 die")
    ended = train("-m", *WORDS, cwd=cwd)
    assert ended.code == 0, ended.err
    assert ended.out.count("done already") == 3
    assert seeds(cwd, "result.json") == [0, 1, 2]
    assert all(p.read_bytes() == content for p, content in before.items())


def test_ctrl_c_ends_all_jobs(tmp_path):
    (tmp_path / "fate").write_text("0 hang")
    with started("-m", *WORDS, "hydra/launcher=processes", "hydra.launcher.jobs=1", cwd=tmp_path) as process:
        end = time.monotonic() + 120
        while not (tmp_path / "hanging").exists() or not (tmp_path / "hanging").read_text():
            assert time.monotonic() < end
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the sweep was stopped by Ctrl-C" in err
    assert "Traceback" not in err
    assert not Path(f"/proc/{(tmp_path / 'hanging').read_text()}").exists()


# A Slurm of one machine, as far as submitit speaks to it: jobs of an array run at once, in the background.
SLURM = {
    "sbatch": r"""
script=$(mktemp "$SPOOL/XXXXXX"); cp "$1" "$script"
last=$(sed -n 's/^#SBATCH --array=0-\([0-9]*\).*/\1/p' "$script")
for task in $(seq 0 "$last"); do
    SPOOLED=$script SLURM_ARRAY_TASK_ID=$task "$BIN/start" >> "$SPOOL/log" 2>&1 &
done
echo "Submitted batch job 77"
""",
    "start": r"""
export SLURM_JOB_ID=77 SLURM_ARRAY_JOB_ID=77 SLURM_ARRAY_TASK_ID SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_LOCALID=0
export SLURM_NODEID=0 SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=localhost SLURM_JOB_NAME=sparse_seg SPOOLED
bash "$SPOOLED"
""",
    "srun": r"""
while [ "${1#*python}" = "$1" ]; do shift; done
echo $$ > "$SPOOL/pid$SLURM_ARRAY_TASK_ID"
exec "$@"
""",
    "scontrol": r"""
if [ "$1" = requeue ]; then
    echo "$2" >> "$SPOOL/requeued"
    pid=$(cat "$SPOOL/pid$SLURM_ARRAY_TASK_ID")
    (while kill -0 "$pid" 2> /dev/null; do sleep 0.1; done
     SLURM_RESTART_COUNT=1 "$BIN/start" >> "$SPOOL/log" 2>&1) > /dev/null 2>&1 &
else
    echo localhost
fi
""",
    "sacct": r"""
echo 'JobID|State|NodeList'
""",
}


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Path:
    """Put the programs of this Slurm first on PATH; returns its spool folder."""
    for name, script in SLURM.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        program = tmp_path / "bin" / name
        program.write_text("#!/bin/bash\n" + script)
        program.chmod(0o755)
    (tmp_path / "spool").mkdir()
    monkeypatch.setenv("BIN", str(tmp_path / "bin"))
    monkeypatch.setenv("SPOOL", str(tmp_path / "spool"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    return tmp_path / "spool"


@pytest.mark.slow
def test_slurm_runs_the_jobs_and_a_preempted_one_goes_on(slurm, tmp_path):
    words = (
        *TINY, "seed=0,1", "trainer.max_epochs=3", "hydra/launcher=slurm", "hydra.launcher.partition=debug",
        "loss=custom", "loss._target_=probes.slow_loss", "+hydra.launcher.additional_parameters.qos=low",
    )  # fmt: skip
    with started("-m", *words, cwd=tmp_path) as process:
        end = time.monotonic() + TIMEOUT
        last = None
        while last is None:
            assert time.monotonic() < end, process.communicate()
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
            last = next((p for p in tmp_path.glob("outputs/runs/*seed=1*/checkpoints/last.ckpt")), None)
        os.kill(int((slurm / "pid1").read_text()), signal.SIGUSR2)
        out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, (out, err, (slurm / "log").read_text())
    assert (slurm / "requeued").read_text().split() == ["77_1"]
    results = {p.parent.name: json.loads(p.read_text()) for p in tmp_path.glob("outputs/runs/*/result.json")}
    assert len(results) == 2
    assert all(len(r["train_loss"]) == 3 for r in results.values())
    log = (last.parents[1] / "log.txt").read_text()
    assert log.count("goes on after epoch") == 1
    assert "failed.json" not in os.listdir(last.parents[1])
    script = next(p for p in slurm.iterdir() if "#SBATCH" in p.read_text()).read_text()
    for line in ("--array=0-1%2", "--partition=debug", "--qos=low", "--gpus-per-node=1", "--signal=USR2@120"):
        assert f"#SBATCH {line}\n" in script


@pytest.mark.slow
def test_submitits_local_executor_runs_the_jobs(tmp_path):
    pytest.importorskip("submitit")
    (tmp_path / "fate").write_text("0 die")
    ended = train("-m", *WORDS, "hydra/launcher=submitit_local", cwd=tmp_path)
    assert ended.code == 1, ended.err
    assert seeds(tmp_path, "result.json") == [1, 2]
    assert "1 of 3 runs failed" in ended.err


@pytest.mark.slow
def test_ray_runs_the_jobs_on_a_cluster(tmp_path):
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    ray = [str(Path(sys.executable).parent / "ray")]
    short = tempfile.mkdtemp(prefix="ray")  # a path of a socket in it must stay below 108 characters
    env = environment(RAY_TMPDIR=short, RAY_USAGE_STATS_ENABLED="0")
    start = [*ray, "start", "--head", "--num-cpus=2", "--port=0", "--include-dashboard=false"]
    subprocess.run(start, env=env, check=True, capture_output=True, timeout=TIMEOUT)
    try:
        (tmp_path / "fate").write_text("0 die")
        words = ("hydra/launcher=ray", "hydra.launcher.ray.init.address=auto", "hydra.launcher.ray.remote.num_cpus=1")
        ended = train("-m", *WORDS, *words, cwd=tmp_path)
    finally:
        subprocess.run([*ray, "stop", "--force"], env=env, check=True, capture_output=True, timeout=TIMEOUT)
        shutil.rmtree(short, ignore_errors=True)
    assert ended.code == 1, ended.err
    assert seeds(tmp_path, "result.json") == [1, 2]
    assert "1 of 3 runs failed" in ended.err
