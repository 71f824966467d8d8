// One side of every pair: a worker thread that answers, or asks and says when all pairs are done.
import { parentPort, workerData } from 'node:worker_threads';

const { part, roundTrips } = workerData;

function answer(port, id) {
  port.on('message', ([, n]) => port.postMessage([id, n]));
}

function ask(port, id, done) {
  let n = 0;
  port.on('message', () => {
    if (++n === roundTrips) done();
    else port.postMessage([id, n]);
  });
  return () => port.postMessage([id, 0]);
}

parentPort.once('message', (ports) => {
  if (part === 'answer') {
    ports.forEach(answer);
  } else {
    let left = ports.length;
    const done = () => { if (--left === 0) parentPort.postMessage('done'); };
    const starts = ports.map((port, id) => ask(port, id, done));
    parentPort.once('message', () => starts.forEach((start) => start()));
  }
  parentPort.postMessage('ready');
});
