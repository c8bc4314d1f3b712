"""Files that a restoration of one image by one method leaves."""

FILES = ["figure.png", "metrics.json", "observed.png", "restored.png", "truth.png"]


def files(folder):
    """Names of what a folder holds, in order."""
    return sorted(path.name for path in folder.iterdir())
