// Four senders of the fan-in. They give way between batches, as the receiver's thread must keep up.
import { parentPort } from 'node:worker_threads';

const BATCH = 1000;

function produce(port, id, count, n = 0) {
  const end = Math.min(count, n + BATCH);
  for (; n < end; n++) port.postMessage([id, n]);
  if (n < count) setImmediate(produce, port, id, count, n);
}

parentPort.on('message', ({ ports, count }) => {
  ports.forEach((port, id) => produce(port, id, count));
});
