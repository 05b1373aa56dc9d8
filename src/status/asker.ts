import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';

/** `status.names`. */
export type NamesShown = 'local' | 'all' | 'none';

/**
 * May this one know which repositories are pulled? The port is open to whoever scrapes it, often to all Pods; names
 * of private images are for those who are on the node already: they could ask its mirror.
 */
export function mayKnowNames(request: IncomingMessage, shown: NamesShown): boolean {
  if (shown !== 'local') return shown === 'all';
  return isLoopback(request.socket.remoteAddress ?? '') && isLocalName(request.headers.host ?? '');
}

/** What a page of somebody else's site would be asked by (DNS rebinding) is another name. */
function isLocalName(host: string): boolean {
  const name = host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  return name.toLowerCase() === 'localhost' || (isIP(name) !== 0 && isLoopback(name));
}

function isLoopback(address: string): boolean {
  return address === '::1' || /^(?:::ffff:)?127\./.test(address);
}
