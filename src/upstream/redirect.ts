import { WindlassError } from '../errors.ts';
import { nameOf, type RequestName } from './upstream-failure.ts';

/**
 * Where a redirect leads. User and password in it are dropped.
 * @throws UPSTREAM_NONSENSE if it leads nowhere, out of HTTP, or from https to http.
 */
export function redirectTarget(from: URL, location: string | undefined, name: RequestName): URL {
  const nonsense = (what: string): WindlassError =>
    new WindlassError('UPSTREAM_NONSENSE', `${nameOf(name)}: redirect ${what}`);
  if (location === undefined) throw nonsense('without a Location');
  if (!URL.canParse(location, from.href)) throw nonsense('to what is no URL');
  const target = new URL(location, from);
  if (target.protocol !== 'http:' && target.protocol !== 'https:') throw nonsense(`to ${target.protocol}`);
  if (from.protocol === 'https:' && target.protocol === 'http:') throw nonsense(`from https to http (${target.host})`);
  target.username = '';
  target.password = '';
  target.hash = '';
  return target;
}
