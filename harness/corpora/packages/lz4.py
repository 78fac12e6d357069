"""lz4: frames and blocks, contexts, dictionaries, broken data."""
import sys

sys.path.pop(0)  # this folder: its files are named after the packages they use
import lz4.block  # noqa: E402
import lz4.frame  # noqa: E402

for i in range(100):
    data = b"abc%d" % i * 500
    assert lz4.frame.decompress(lz4.frame.compress(data)) == data and lz4.block.decompress(lz4.block.compress(data)) == data
    with lz4.frame.LZ4FrameCompressor() as c:
        whole = c.begin() + c.compress(data) + c.flush()
    with lz4.frame.LZ4FrameDecompressor() as d:
        assert d.decompress(whole) == data
    lz4.frame.get_frame_info(whole), lz4.block.compress(data, mode="high_compression", dict=b"abc")
    for wrong in (lambda: lz4.frame.decompress(b"no"), lambda: lz4.block.decompress(b"\xff" * 9)):
        try:
            wrong()
            sys.exit("an error was expected")
        except Exception as e:
            str(e)
