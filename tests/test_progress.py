from dipgp import progress


def test_progress_is_quiet_where_nobody_looks(capsys):
    with progress.show("title") as report:
        report("news [with brackets]")
    assert capsys.readouterr() == ("", "")


def test_progress_goes_to_a_terminals_stderr(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes anything for a terminal then
    with progress.show("title [a]") as report:
        report("news [b]")
    out, err = capsys.readouterr()
    assert out == ""
    assert "title [a]" in err
