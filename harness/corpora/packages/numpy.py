"""numpy: ufuncs, dtypes, indexing, sorting, linear algebra, FFT, random numbers, structured and object arrays, errors, pickles, buffers."""
import io
import os
import pickle
import sys

sys.path.pop(0)  # this folder: its files are named after the packages they use
import numpy as np  # noqa: E402

structured = np.array([(1, 2.0, "a"), (3, 4.0, "b")], dtype=[("x", "i4"), ("y", "f8"), ("s", "U4")])
for i in range(200):
    a = np.arange(120, dtype="f8").reshape(10, 12) + i
    (a * 2 - 1).sum(axis=0), a.mean(), a.std(axis=1), np.add.reduce(a, axis=1), np.cumsum(a), np.einsum("ij,kj->ik", a, a)
    a[a > 30] = 0
    a[1:3, ::2], a[[1, 2], [3, 4]], a[..., None], np.take(a, [1, 2]), np.where(a > 5, a, -a)
    np.linalg.norm(a), np.linalg.svd(a), np.linalg.solve(np.eye(3) * (i + 1), np.ones(3)), np.fft.fft(a[0]).real
    np.sort(structured, order="y")["x"].sum(), structured[0]["s"], structured.tolist()
    np.concatenate([a[0], a[1]]), np.stack([a, a]), np.split(a, 2), np.unique(a), np.argsort(a), np.histogram(a, bins=5)
    np.array(["a", "bc", None], dtype=object).astype(str), np.array(["1", "2"]).astype(int), a.astype("i8").astype("f4")
    np.random.default_rng(i).normal(size=8), np.datetime64("2020-01-01") + np.timedelta64(i, "D"), np.float32(i) * np.int8(2)
    pickle.loads(pickle.dumps(a)), memoryview(a).tobytes(), np.frombuffer(a.tobytes()), repr(a), str(np.float64(i))
    f = io.BytesIO()
    np.save(f, a)
    f.seek(0)
    np.load(f)
    np.vectorize(lambda x: x + 1)(a), np.frompyfunc(lambda x, y: (x, y), 2, 1)(a, a)
    it = np.nditer([a, None], flags=["external_loop"])
    for x, y in it:
        y[...] = x
    for wrong in (lambda: np.zeros(3) + np.zeros(4), lambda: np.array([1, 2]).reshape(3), lambda: a[100], lambda: np.dtype("nonsense"),
                  lambda: np.linalg.inv(np.zeros((2, 2))), lambda: np.array([1, "x"], dtype=int)):
        try:
            wrong()
        except (ValueError, IndexError, TypeError, np.linalg.LinAlgError):
            pass
        else:
            sys.exit("an error was expected")
print(np.__version__, os.getpid())
