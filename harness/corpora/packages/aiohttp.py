"""aiohttp: a server and a client on the loopback address: JSON, streams, forms, cookies, redirects, web sockets, timeouts, broken requests."""
import asyncio
import sys

sys.path.pop(0)  # this folder: its files are named after the packages they use
import aiohttp  # noqa: E402
from aiohttp import web  # noqa: E402


async def echo(request):
    if request.content_type.startswith("multipart/"):
        parts = [await part.read() async for part in await request.multipart()]
        return web.json_response([p.decode() for p in parts])
    return web.json_response({"got": await request.json(), "q": dict(request.query), "c": dict(request.cookies)})


async def stream(request):
    response = web.StreamResponse(headers={"X-Test": "1"})
    response.enable_compression()
    await response.prepare(request)
    for n in range(10):
        await response.write(b"chunk %d" % n)
    return response


async def socket(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        await ws.send_str(message.data * 2)
    return ws


async def slow(request):
    await asyncio.sleep(5)


async def away(request):
    raise web.HTTPFound("/stream")


async def broken(request):
    raise web.HTTPGone(text="no")


async def visit(session, base, n):
    async with session.post(base + "/echo?a=%d" % n, json={"n": n, "x": ["y"] * 5}) as r:
        assert (await r.json())["got"]["n"] == n
    form = aiohttp.FormData()
    form.add_field("f", b"content %d" % n, filename="f.txt")
    async with session.post(base + "/echo", data=form) as r:
        assert await r.json() == ["content %d" % n]
    async with session.get(base + "/away") as r:
        assert len(await r.read()) == 70 and r.history and r.headers["X-Test"] == "1"
    async with session.get(base + "/broken") as r:
        assert r.status == 410
    async with session.ws_connect(base + "/socket") as ws:
        for _ in range(5):
            await ws.send_str("ab")
            assert (await ws.receive()).data == "abab"
    try:
        async with session.get(base + "/slow", timeout=aiohttp.ClientTimeout(total=0.05)):
            sys.exit("an error was expected")
    except asyncio.TimeoutError:
        pass


async def nonsense(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"NOT HTTP\r\n\r\n")
    assert b"400" in await reader.read()
    writer.close()


async def main():
    app = web.Application()
    app.add_routes([web.post("/echo", echo), web.get("/stream", stream), web.get("/socket", socket), web.get("/slow", slow),
                    web.get("/away", away), web.get("/broken", broken)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=1)
    await site.start()
    port = runner.addresses[0][1]
    base = "http://127.0.0.1:%d" % port
    async with aiohttp.ClientSession(cookies={"k": "v"}) as session:
        for n in range(10):
            await asyncio.gather(*[visit(session, base, n * 10 + k) for k in range(4)])
            await nonsense(port)
        try:
            async with session.get("http://127.0.0.1:1/"):
                sys.exit("an error was expected")
        except aiohttp.ClientConnectorError:
            pass
    await runner.cleanup()


for _ in range(2):
    asyncio.run(main())
