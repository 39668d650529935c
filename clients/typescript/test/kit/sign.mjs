// A token, as an application's own server makes it: at once, without another process.
import { createHmac } from 'node:crypto';
import { SECRET } from './broker.mjs';

const encoded = (value) => Buffer.from(value).toString('base64url');

/** For `subscribe`; good for so many seconds, or up to one more. */
export function signed(seconds, subscribe = ['/**']) {
  const claims = { sub: 'ada', aud: 'tidewire:dev', exp: Math.ceil(Date.now() / 1000) + seconds, tidewire: { subscribe } };
  const body = `${encoded('{"alg":"HS256","typ":"JWT"}')}.${encoded(JSON.stringify(claims))}`;
  return `${body}.${createHmac('sha256', SECRET).update(body).digest('base64url')}`;
}
