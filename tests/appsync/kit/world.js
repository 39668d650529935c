// The broker of the everyday cases, with keys and grants, and what each case gets of it.

import { startProxy } from '../../browser/kit/proxy.js';
import { until } from '../../browser/kit/until.js';
import { configuredBroker, endpointOf, makeIssuer, makeKey, native } from './broker.js';

/** One broker for many cases that run side by side: each takes channels of its own. */
export async function startWorld() {
  const everything = ['--subscribe', '/default/**', '--publish', '/default/**'];
  const [app, reader, backend] = await Promise.all([
    makeKey('app', ...everything),
    makeKey('reader', '--subscribe', '/default/**'),
    makeKey('backend', ...everything),
  ]);
  const issuer = makeIssuer();
  const broker = await configuredBroker(`
    strict_namespaces = true
    [namespace.default]
    [namespace.private]
    [auth]
    secret = "${issuer.secret}"
    ${[app, reader, backend].map(({ table }) => table).join('\n')}
  `);
  return {
    broker,
    keys: { app: app.key, reader: reader.key },
    token: issuer.token,
    backend: native(broker.url, backend.key),
    stop: () => broker.stop(),
  };
}

let paths = 0;

/** Does one case: what it opened is closed behind it. */
export async function doCase(world, agents, body) {
  const opened = [];
  const keep = (thing) => { opened.push(thing); return thing; };
  const failures = [];
  try {
    await body({
      ...world,
      /** A path that no other case has. */
      path: () => `/default/case-${paths += 1}`,
      /** An Amplify with the key `app`, or configured otherwise. */
      async agent(configuration) {
        const agent = keep(await agents.start());
        await agent.call('configure', { endpoint: world.broker.endpoint, defaultAuthMode: 'apiKey', apiKey: world.keys.app, ...configuration });
        return agent;
      },
      /** The same behind a line that counts and can be cut. */
      proxy: async () => {
        const proxy = keep(await startProxy(world.broker.url));
        return Object.assign(proxy, { endpoint: endpointOf(proxy.url) });
      },
    });
  } catch (error) {
    failures.push(error);
  }
  for (const thing of opened.reverse()) await thing.stop().catch((error) => failures.push(error));
  if (failures.length > 0) throw failures.length === 1 ? failures[0] : new AggregateError(failures, failures.map(({ message }) => message).join('; '));
}

/** A channel with one subscription of the same name, ready. */
export async function follow(agent, path, options) {
  await agent.call('connect', path, options);
  await agent.call('subscribe', path, path, options);
  return agent.call('ready', path);
}

/** Until a subscription has so many events; gives them all. */
export async function received(agent, name, count) {
  await until(async () => `${count} events at ${name}, there are ${JSON.stringify(await agent.call('received', name)).slice(0, 1_000)}; errors: ${JSON.stringify(await agent.call('errors', name))}`,
    async () => (await agent.call('count', name)) >= count);
  return agent.call('received', name);
}

/** The frames that came over an agent's sockets, of one type or all. */
export async function framesGot(agent, type) {
  return frames((await agent.call('sockets')).flatMap(({ got }) => got), type);
}

export async function framesSent(agent, type) {
  return frames((await agent.call('sockets')).flatMap(({ sent }) => sent), type);
}

function frames(texts, type) {
  return texts.map((text) => JSON.parse(text)).filter((frame) => !type || frame.type === type);
}
