"""What a shell completes: asked of a real bash."""

import argparse
import shlex
import shutil
import subprocess
import sys

import pytest

from ugmm.cli import main, make_parser
from ugmm.completion import completion_script

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")

ASK = """
ugmm() {{ {python} -m ugmm "$@"; }}
source <(ugmm completion bash)
for line in {lines}; do
  IFS=' ' read -r -a COMP_WORDS <<<"$line"
  [ "${{line: -1}}" = ' ' ] && COMP_WORDS+=('')
  COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
  COMPREPLY=()
  _shtab_ugmm ugmm "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
  echo "${{COMPREPLY[*]}}"
done
"""
MINE = "# Mine\ndefaults: {data: iris, model: ugmm, task: discriminative}\n"
COMPLETED = {
    "ugmm abl": "ablate",
    "ugmm train mnist_vit": "mnist_vit mnist_vit_standard",
    "ugmm train min": "mine",
    "ugmm train mnist_norm": "",  # an ablation
    "ugmm ablate mnist_norm": "mnist_norm",
    "ugmm crossval ir": "iris",
    "ugmm launch iris_b": "iris_baselines",
    "ugmm train iris_disc --res": "--resume",
    "ugmm train my": "my.yaml",
    "ugmm eval my": "my.txt my.yaml",
    "ugmm infer my --query m": "marginal mpe",
    "ugmm train iris_disc --plugin my": "my.txt my.yaml",
    "ugmm completion ": "bash zsh tcsh",
}


def test_bash_completes_commands_names_options_and_files(tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.yaml").write_text(MINE)
    (tmp_path / "experiments" / "$(touch${IFS}ran).yaml").write_text(MINE)
    for name in ("my.yaml", "my.txt"):
        (tmp_path / name).touch()
    lines = " ".join(map(shlex.quote, COMPLETED))
    script = ASK.format(python=shlex.quote(sys.executable), lines=lines)
    command = ["bash", "--norc", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert not (tmp_path / "ran").exists()  # a name is no command
    found = [" ".join(sorted(line.split())) for line in done.stdout.splitlines()]
    expected = [" ".join(sorted(words.split())) for words in COMPLETED.values()]
    assert dict(zip(COMPLETED, found, strict=True)) == dict(zip(COMPLETED, expected, strict=True))


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_each_shell_has_a_script(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "mnist_norm" in script if shell == "tcsh" else "_ugmm_ablation()" in script
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n"], input=script, text=True, check=False)
        assert checked.returncode == 0


def test_every_argument_of_every_command_is_completed_somehow():
    parser = make_parser()
    completion_script(parser, "bash")
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for name, command in commands.choices.items():
        for action in command._get_positional_actions():
            known = action.choices or hasattr(action, "complete")
            assert known or action.metavar == "KEY=VALUE" or action.dest == "overrides", name


def test_completing_takes_no_torch():
    code = "import ugmm.cli, sys; ugmm.cli.main(['completion', 'bash']); assert 'torch' not in "
    code += "sys.modules and 'omegaconf' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
