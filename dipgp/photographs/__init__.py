"""Pictures of PNG, JPEG and TIFF files with all that belongs to them.

`dipgp.images` reads intensities; here bit depth, alpha channel, orientation, colour
profile and other metadata come along and go back:

    photograph = read("in.png")
    better = dataclasses.replace(photograph, colours=restored)
    content, left_out = encode(better, ".png")

What a file cannot hold is refused, and what is left out of it is told.
"""

from dipgp.photographs.files import ENDINGS, encode, format_of, read
from dipgp.photographs.photograph import Metadata, Photograph

__all__ = ["ENDINGS", "Metadata", "Photograph", "encode", "format_of", "read"]
