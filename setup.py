"""Ships the YAML files of `configs/` and `experiments/` inside the package, as `ugmm/shipped/`.

The folders stand at the top of the repository, where people edit them, and nowhere else in git;
a build copies them. Mapping them to packages in pyproject.toml would do that too, but needs every
package listed by hand, and makes an editable install an import hook, which editors and mypy cannot
follow. In an editable install nothing is copied: `ugmm.config.files` then reads the folders here.
Everything else about the build is in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build import build


class BuildShipped(Command):
    """The step of a build that copies them, a `setuptools.command.build.SubCommand`."""

    editable_mode = False

    def initialize_options(self) -> None:
        """Declare the options, as every command must."""
        self.build_lib = ""

    def finalize_options(self) -> None:
        """Build to where the modules are built to."""
        self.build_lib = self.get_finalized_command("build_py").build_lib

    def run(self) -> None:
        """Copy the files."""
        if self.editable_mode:
            return
        # What an earlier build left may have been renamed since.
        shutil.rmtree(Path(self.build_lib, "ugmm", "shipped"), ignore_errors=True)
        for target, source in self.get_output_mapping().items():
            self.mkpath(str(Path(target).parent))
            self.copy_file(source, target)

    def get_source_files(self) -> list[str]:
        """Return what an sdist must hold, relative to this folder."""
        return sorted(
            str(path)
            for folder in ("configs", "experiments")
            for path in Path(folder).rglob("*.yaml")
        )

    def get_outputs(self) -> list[str]:
        """Return the built files."""
        return list(self.get_output_mapping())

    def get_output_mapping(self) -> dict[str, str]:
        """Return each built file with what it is copied from."""
        shipped = Path(self.build_lib, "ugmm", "shipped")
        return {str(shipped / source): source for source in self.get_source_files()}


class Build(build):
    """The usual build, and that step."""

    sub_commands = [*build.sub_commands, ("build_shipped", None)]  # noqa: RUF012


setup(cmdclass={"build": Build, "build_shipped": BuildShipped})
