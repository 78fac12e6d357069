"""Pillow: images made, drawn on, filtered, converted, resized, and written and read back in several formats; broken files."""
import io
import sys

sys.path.pop(0)  # this folder: its files are named after the packages they use
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps, ImageSequence, ImageStat  # noqa: E402

for i in range(60):
    image = Image.new("RGB", (64, 48), (i, 2, 3))
    draw = ImageDraw.Draw(image)
    draw.line((0, 0, 63, 47), fill="red", width=2)
    draw.ellipse((5, 5, 30, 30), outline=(1, 2, 3)), draw.polygon([(1, 1), (20, 3), (9, 30)], fill=i)
    draw.text((2, 2), "t%d" % i, font=ImageFont.load_default())
    other = image.resize((32, 32), Image.BICUBIC).rotate(30, expand=True).convert("RGBA").crop((1, 1, 20, 20))
    image.filter(ImageFilter.GaussianBlur(2)).transpose(Image.FLIP_LEFT_RIGHT), ImageOps.autocontrast(image), ImageEnhance.Contrast(image).enhance(1.5)
    ImageChops.add(image, image), ImageStat.Stat(image).mean, image.histogram(), image.getcolors(10000), image.getbbox(), image.split()
    image.paste(other, (3, 3), other), image.point(lambda v: v // 2), image.quantize(8).convert("RGB"), image.load()[3, 3]
    Image.merge("RGB", image.split()), Image.frombytes("L", (4, 4), bytes(16)), image.tobytes(), image.putpixel((1, 1), (9, 9, 9))
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "WEBP"):
        f = io.BytesIO()
        image.save(f, kind)
        f.seek(0)
        with Image.open(f) as read:
            read.load()
            assert read.size == image.size
    f = io.BytesIO()
    image.save(f, "GIF", save_all=True, append_images=[image.convert("L"), other.convert("RGB").resize(image.size)])
    for frame in ImageSequence.Iterator(Image.open(f)):
        frame.copy()
    for wrong in (lambda: Image.open(io.BytesIO(b"no image")), lambda: Image.open(io.BytesIO(f.getvalue()[:40])).load(),
                  lambda: Image.new("nonsense", (1, 1)), lambda: image.crop((9, 9, 1, 1)).getpixel((5, 5))):
        try:
            wrong()
        except (OSError, ValueError, IndexError, KeyError, EOFError):
            pass
        else:
            sys.exit("an error was expected")
