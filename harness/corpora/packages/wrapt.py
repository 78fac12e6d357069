"""wrapt: decorators on functions and methods of each kind, object proxies with all their operators, wrappers, weak function proxies."""
import sys

sys.path.pop(0)  # this folder: its files are named after the packages they use
import wrapt  # noqa: E402


@wrapt.decorator
def through(wrapped, instance, args, kwargs):
    return wrapped(*args, **kwargs)


@through
def add(a, b=2):
    return a + b


class Thing:
    @through
    def method(self, x):
        return x

    @through
    @classmethod
    def of_class(cls):
        return cls

    @through
    @staticmethod
    def static():
        return 1


for i in range(300):
    add(i), Thing().method(i), Thing.of_class(), Thing.static(), Thing().static()
    p = wrapt.ObjectProxy([i, 2, 3])
    p[0], len(p), list(p), p + [4], p == [1], repr(p), isinstance(p, list), p.append(5), p * 2, bool(p), iter(p), 2 in p
    n = wrapt.ObjectProxy(5)
    n + 1, 1 + n, n - 1, -n, n**2, pow(2, n), divmod(n, 2), int(n), float(n), n // 2, n % 2, n << 1, n & 1, n | 2, n ^ 1, ~n, abs(n), n < 6
    n += 1
    wrapt.FunctionWrapper(add, lambda w, instance, a, k: w(*a, **k))(1), wrapt.CallableObjectProxy(add)(1), wrapt.PartialCallableObjectProxy(add, 1)()
    wrapt.WeakFunctionProxy(add)(1)
    for wrong, error in ((lambda: p.nothing, AttributeError), (lambda: n(), TypeError)):
        try:
            wrong()
            sys.exit("an error was expected")
        except error:
            pass
