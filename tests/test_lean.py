"""A command that trains imports no more than it needs, and gets the rest when it asks for it."""

import subprocess
import sys
import textwrap

IDLE = [
    "scipy.signal",
    "sympy",
    "torch._dynamo",
    "torchmetrics.functional",
    "torchvision",
    "wandb",
]


def run(code):
    """Run code in a fresh interpreter; return what it printed last."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_a_run_imports_no_more_than_it_needs(tmp_path):
    loaded = run(f"""
        import gc, sys
        from ugmm.cli import main
        assert main(["train", "iris_disc", "trainer.max_epochs=1", "tracking.mode=disabled",
                     "trainer.accelerator=cpu", "runs_dir={tmp_path}"]) == 0
        assert gc.isenabled()
        print([name for name in {IDLE} if name in sys.modules])
    """)
    assert loaded == "[]"


def test_the_rest_is_there_for_whoever_asks():
    loaded = run(f"""
        import gc, sys
        from ugmm._lean import starting
        gc.disable()
        with starting():
            import lightning
        assert not gc.isenabled()
        import torch, torchmetrics
        from torchmetrics.regression import MeanSquaredError
        assert issubclass(MeanSquaredError, torchmetrics.Metric)
        assert torchmetrics.Accuracy(task="binary")(torch.ones(2), torch.ones(2)) == 1
        assert lightning.pytorch.core.module.Metric is torchmetrics.metric.Metric
        assert type(torchmetrics) is type(sys)
        import torch._dynamo.eval_frame
        assert isinstance(torch.compile(torch.nn.Linear(1, 1)), torch._dynamo.OptimizedModule)
        compiled = torch.compile(lightning.pytorch.LightningModule())
        assert lightning.pytorch.utilities.compile._maybe_unwrap_optimized(compiled)
        print([name for name in {IDLE} if name not in sys.modules])
    """)
    assert loaded == "['wandb']"


def test_versions_that_are_put_together_otherwise_are_imported_whole():
    loaded = run("""
        import sys
        class Moved:
            def find_spec(self, name, *_):
                if name == "torchmetrics.collections":
                    sys.meta_path.remove(self)
                    raise ImportError(name)
        sys.meta_path.insert(0, Moved())
        from ugmm._lean import starting
        with starting():
            import ugmm.tasks
        assert sys.modules["lightning.pytorch"].LightningModule
        print("torchmetrics.functional" in sys.modules, "torch._dynamo.eval_frame" in sys.modules)
    """)
    assert loaded == "True True"
