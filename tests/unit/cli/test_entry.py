from aeflow.cli.entry import run


def test_details_of_what_should_not_have_happened_lie_in_the_home_of_the_config(
    tmp_path, monkeypatch, capsys
):
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    (project / "configs").mkdir(parents=True)
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    config = project / "configs" / "a.yaml"
    config.write_text("name: a\n")

    def fail(_config):
        message = "the moon is full"
        raise RuntimeError(message)

    monkeypatch.setattr("flows.check_pipeline.check_pipeline", fail)
    assert run(["check", str(config)]) == 1
    told = capsys.readouterr().err
    assert "RuntimeError: the moon is full" in told
    log = project / ".aeflow" / "error.log"
    assert str(log) in told
    assert "in fail" in log.read_text()
    assert list(elsewhere.iterdir()) == []
