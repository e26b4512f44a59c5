"""Reading face crops: any image file to RGB, and the part of it that a network wants to see."""

import stat
import warnings
from functools import cache
from pathlib import Path

from common.errors import InputError

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 64_000_000
MIN_SIDE = 8
# Of a crop aligned one way, the box that the other way shows, as shares of its width and height:
# dlib's chip is the box (6.2, 22.5)-(106.7, 122.5) of an ArcFace crop of 112 x 112.
WHOLE = (0.0, 0.0, 1.0, 1.0)
DLIB_IN_ARCFACE = (6.2 / 112, 22.5 / 112, 106.7 / 112, 122.5 / 112)
ARCFACE_IN_DLIB = (-6.2 / 100.5, -22.5 / 100, (112 - 6.2) / 100.5, (112 - 22.5) / 100)
# Not all that Pillow opens: for PostScript, say, it runs an interpreter.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP")


def frame_box(crop: str, frame: str) -> tuple[float, float, float, float]:
    """What a network trained on `frame` sees of an image aligned as `crop`, in shares of its sides."""
    return {("arcface", "dlib"): DLIB_IN_ARCFACE, ("dlib", "arcface"): ARCFACE_IN_DLIB}.get(
        (crop, frame), WHOLE
    )


def read_face(path: Path, size: int, box: tuple[float, float, float, float]) -> np.ndarray:
    """The box of an image, uint8 (size, size, 3); what lies outside the image is black.

    Raises `InputError` with the reason alone where the image cannot be read.
    """
    image = read_image(path)
    width, height = image.size
    left, upper, right, lower = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    margins = [max(0, -int(np.floor(left))), max(0, -int(np.floor(upper)))]
    margins += [max(0, int(np.ceil(right)) - width), max(0, int(np.ceil(lower)) - height)]
    if any(margins):
        image = ImageOps.expand(image, (margins[0], margins[1], margins[2], margins[3]))
        left, right, upper, lower = (
            left + margins[0],
            right + margins[0],
            upper + margins[1],
            lower + margins[1],
        )
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, (left, upper, right, lower)))


def read_image(path: Path) -> Image.Image:
    """Decode an image file to RGB: first frame, upright, transparency on white.

    Raises `InputError` with the reason alone; opens regular files only, so nothing can hang.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError("is not a regular file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=known_formats()) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise InputError(f"has {image.width} x {image.height} pixels, too many for a face crop")
                if min(image.size) < MIN_SIDE:
                    raise InputError(f"has {image.width} x {image.height} pixels, too few for a face")
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                return to_rgb(image)
    except FileNotFoundError:
        raise InputError("not found") from None
    except PermissionError:
        raise InputError("no permission to read it") from None
    except UnidentifiedImageError:
        raise InputError("is no image, or of a kind that is not read") from None
    except Image.DecompressionBombError:
        raise InputError("has too many pixels for a face crop") from None
    except InputError:
        raise
    except OSError as error:  # of the file system, or with no number, of a decoder
        reason = (error.strerror or "").lower() if error.errno else f"is damaged ({_line_of(error)})"
        raise InputError(reason) from None
    except Exception as error:  # decoders raise many kinds for damaged files
        raise InputError(f"is damaged ({_line_of(error)})") from None


def _line_of(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


@cache
def known_formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow can read."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB: 16 bits scaled to 8, transparency laid on white."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image).astype(np.float64)
        most = 255.0 if values.max(initial=0) <= 255 else 65535.0
        return Image.fromarray((values.clip(0, most) * (255 / most)).astype(np.uint8)).convert("RGB")
    if "A" in image.mode or "transparency" in image.info:
        rgba = image.convert("RGBA")
        paper = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(paper, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
