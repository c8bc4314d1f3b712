import re
from pathlib import Path

import jax
import pytest

from dipgp import compilation_cache


@pytest.fixture
def folder(monkeypatch, tmp_path, compilation_cache_kept):
    """What JAX is told, from a fresh start in a home of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    jax.config.update("jax_compilation_cache_dir", None)
    return lambda: jax.config.values["jax_compilation_cache_dir"]


@pytest.fixture
def processor(monkeypatch):
    """Gives the machine another processor."""

    def has(words):
        said = f"model name : any\nflags\t: {words}\n"
        monkeypatch.setattr(Path, "read_text", lambda self: said)

    return has


def test_programs_lie_in_the_users_cache(folder, tmp_path):
    compilation_cache.choose_folder()
    assert re.fullmatch(rf"{tmp_path}/dipgp/programs-[0-9a-f]{{12}}", str(folder()))


def test_a_folder_that_is_named_stays(folder):
    jax.config.update("jax_compilation_cache_dir", "own")
    compilation_cache.choose_folder()
    assert folder() == "own"


def test_without_a_home_there_is_none(folder, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "nowhere")
    compilation_cache.choose_folder()
    assert folder() is None


def test_processors_of_other_instructions_have_another_folder(processor):
    found = []
    for words in ("sse2 avx2", "avx2 sse2", "sse2 avx2 avx512f"):
        processor(words)
        found.append(compilation_cache.fingerprint())
    assert found[0] == found[1] != found[2]


def test_other_versions_of_the_compiler_have_another_folder(monkeypatch):
    before = compilation_cache.fingerprint()
    monkeypatch.setattr("jaxlib.__version__", "0.0.1")
    assert compilation_cache.fingerprint() != before


def test_systems_that_do_not_tell_have_a_folder_too(monkeypatch):
    def absent(self):
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_text", absent)
    assert len(compilation_cache.fingerprint()) == 12
