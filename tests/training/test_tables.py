"""Tables other than Iris, from the command line to the pictures."""

import pytest

from ugmm.cli import main


def test_other_tables_train_and_are_drawn(train_and_draw):
    run = train_and_draw("iris_disc", "data=digits")
    pictures = {path.stem for path in run.plots.iterdir()}
    assert pictures == {"training", "confusion", "reliability", "neurons", "first_layer"}


class TestOwnTable:
    """A CSV file from the command line to the pictures."""

    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "flowers.csv"
        rows = (f"f{i},{i % 3 + i / 100},{'NA' if i == 7 else i},{'ab'[i % 2]}" for i in range(40))
        path.write_text("\n".join(["id,width,_price in $ or c$,kind", *rows]))
        return path

    def test_it_trains_and_is_described(self, train_and_draw, path, tmp_path, capfd, monkeypatch):
        monkeypatch.chdir(tmp_path)
        settings = ("data=csv", "data.path=flowers.csv", "data.missing=mean")
        assert "has one class only; name its label's column" in train_and_draw(
            "iris_disc", *settings, "data.types={id: drop}"
        )
        settings += ("data.label=kind",)
        assert "'data.types={id: drop}'" in train_and_draw("iris_disc", *settings)
        command = ["train", "iris_disc", "trainer.max_epochs=25", *settings]
        assert main([*command, "data.types={id: drop}"]) == 0
        assert (
            f"{path} (utf-8, comma, decimal point): 40 rows, 2 features\n"
            in capfd.readouterr().out
        )
        (folder,) = (tmp_path / "runs").glob("*/*")
        monkeypatch.chdir("/")
        assert main(["eval", str(folder)]) == 0
        path.write_text(path.read_text().replace("id,", "id,more,").replace("\nf", "\nf,1"))
        (folder / "summary.json").unlink()
        capfd.readouterr()
        for command in (["eval"], ["train", "--resume"]):
            assert main([*command, str(folder)]) == 1
            line = capfd.readouterr().err
            assert "was trained where n_features was 2, and the data now has 3" in line
