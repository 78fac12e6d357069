# packages: nodejs
# commands: node
# status: 7
# Workers, buffers, zlib, crypto, children, JSON.
cat >main.js <<'END'
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const zlib = require('zlib'), crypto = require('crypto'), { execSync } = require('child_process');
if (!isMainThread) {
    const list = Array.from({ length: 50000 }, (_, i) => ({ i, s: 'x'.repeat(i % 40) }));
    parentPort.postMessage(crypto.createHash('sha256').update(JSON.stringify(list)).digest('hex') + workerData);
} else {
    const scale = Number(process.argv[2]);
    const text = JSON.stringify(Array.from({ length: 50000 * scale }, (_, i) => ({ i, t: String(i * 7919) })));
    console.log(zlib.gunzipSync(zlib.gzipSync(text)).equals(Buffer.from(text)), text.length);
    console.log(execSync('echo from a child').toString().trim());
    let done = 0;
    const answers = [];
    for (let i = 0; i < 4; i++)
        new Worker(__filename, { workerData: i }).on('message', m => { answers[i] = m; if (++done === 4) { console.log(answers.join('\n')); process.exitCode = 7; } });
}
END
node main.js "$SCALE"
