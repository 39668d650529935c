// The process of an agent in Node: it does what its parent asks.

if (process.argv[2] === 'ws') globalThis.WebSocket = (await import('ws')).WebSocket;
const { operate } = await import('./agent.js');

process.on('message', async ({ id, name, args }) => process.send({ id, ...(await operate(name, args)) }));
process.on('disconnect', () => process.exit());
process.send('here');
