// What Node reads in a body: TextDecoder, JSON.parse, then every key and string. Batches come over
// stdin: a count, then each body behind its length (32 bits, big-endian). The answer to a batch is a
// line of JSON: for each body null if it was refused, or its texts.
"use strict";
const decoder = new TextDecoder("utf-8");

function texts(body) {
  let value;
  try {
    value = JSON.parse(decoder.decode(body));
  } catch {
    return null;
  }
  const found = new Set();
  const waiting = [value];
  while (waiting.length) {
    const node = waiting.pop();
    if (typeof node === "string") found.add(node);
    else if (Array.isArray(node)) for (const element of node) waiting.push(element);
    else if (node !== null && typeof node === "object")
      for (const key of Object.keys(node)) {
        found.add(key);
        waiting.push(node[key]);
      }
  }
  return [...found];
}

let buffered = Buffer.alloc(0);

function answer() {
  for (;;) {
    if (buffered.length < 4) return;
    const bodies = [];
    let at = 4;
    for (let left = buffered.readUInt32BE(0); left > 0; left--) {
      if (buffered.length < at + 4) return;
      const end = at + 4 + buffered.readUInt32BE(at);
      if (buffered.length < end) return;
      bodies.push(buffered.subarray(at + 4, end));
      at = end;
    }
    process.stdout.write(JSON.stringify(bodies.map(texts)) + "\n");
    buffered = buffered.subarray(at);
  }
}

process.stdin.on("data", (chunk) => {
  buffered = buffered.length ? Buffer.concat([buffered, chunk]) : chunk;
  answer();
});
