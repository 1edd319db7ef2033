"""What the repository's own files say of versions, commands and each other is so."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

import ugmm

CLONE = Path(__file__).parents[1]
WORKFLOWS = sorted(CLONE.glob(".github/workflows/*.yaml"))
FORMS = sorted(CLONE.glob(".github/ISSUE_TEMPLATE/*.yaml"))
PAGES = sorted(CLONE.glob("*.md"))


def read(path):
    return (CLONE / path).read_text(encoding="utf-8")


def steps(workflow):
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


def test_one_version_is_told_everywhere():
    assert re.fullmatch(r"\d+\.\d+\.\d+", ugmm.__version__)
    assert yaml.safe_load(read("CITATION.cff"))["version"] == ugmm.__version__
    headings = re.findall(r"^## \[(.+?)\]( - \d{4}-\d\d-\d\d)?$", read("CHANGELOG.md"), re.M)
    assert headings[0] == ("Unreleased", "")
    assert headings[1][0] == ugmm.__version__
    assert all(date for _, date in headings[1:])


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_what_there_is(workflow):
    targets = set(re.findall(r"^([a-z-]+):.* ## ", read("Makefile"), re.M))
    commands = [step["run"] for step in steps(workflow) if "run" in step]
    assert commands
    for command in commands:
        assert set(re.findall(r"\bmake ([a-z-]+)", command)) <= targets
        for script in re.findall(r"\bbash (\S+)", command):
            assert (CLONE / script).is_file()


def test_ci_runs_targets_that_there_are():
    targets = set(re.findall(r"^([a-z-]+):.* ## ", read("Makefile"), re.M))
    named = set(re.findall(r"^\s*make ([a-z-]+)", read(".ci/run"), re.M))
    assert {"lint", "test", "test-slow"} <= named <= targets


def test_ci_runs_on_each_python_that_is_declared():
    (matrix,) = re.findall(r"python: (\[.*\])", read(".github/workflows/ci.yaml"))
    declared = re.findall(r"Python :: (3\.\d+)", read("pyproject.toml"))
    assert yaml.safe_load(matrix) == declared
    assert f'requires-python = ">={declared[0]}"' in read("pyproject.toml")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_to_a_commit(workflow):
    """A tag can be moved; the version stands beside the commit for who reads it."""
    lines = re.findall(r"uses: (.*)", workflow.read_text(encoding="utf-8"))
    for line in lines:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_checkout_keeps_no_credentials(workflow):
    for step in steps(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_only_publishing_may_ask_for_an_identity():
    jobs = yaml.safe_load(read(".github/workflows/release.yaml"))["jobs"]
    asking = [name for name, job in jobs.items() if "id-token" in job.get("permissions", {})]
    assert asking == ["publish"]
    (publishing,) = [step for step in jobs["publish"]["steps"] if "pypi" in step["uses"]]
    assert "with" not in publishing  # no password


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_an_issue_is_a_form(form):
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(content)
    ids = [field["id"] for field in content["body"]]
    assert len(ids) == len(set(ids))
    assert all(field["attributes"]["label"] for field in content["body"])


def test_hooks_need_no_network():
    hooks = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    assert all(hook["language"] == "system" for hook in hooks[0]["hooks"])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_files_that_a_page_links_to_are_there(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (CLONE / target).exists(), target


def test_commands_that_a_page_names_are_there():
    targets = set(re.findall(r"^([a-z-]+):.* ## ", read("Makefile"), re.M))
    for page in PAGES:
        named = re.findall(r"(?:`|\$ )make ([a-z-]+)", page.read_text(encoding="utf-8"))
        assert set(named) <= targets, page.name


def test_no_two_test_files_have_one_name():
    """Pytest would collect the first of them only."""
    counts = Counter(path.name for path in (CLONE / "tests").rglob("test_*.py"))
    assert [name for name, n in counts.items() if n > 1] == []
