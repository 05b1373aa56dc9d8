import { z } from 'zod';
import { apiFailure, apiNonsense } from '../kubernetes/api-failure.ts';
import { readStatus } from '../kubernetes/api-status.ts';
import { type EndpointSlice, readSlice } from './endpoint-slice.ts';

/** What a watch tells. `resourceVersion` is where a next one goes on. */
export type SliceEvent =
  | { readonly type: 'set'; readonly slice: EndpointSlice; readonly resourceVersion: string }
  | { readonly type: 'removed'; readonly name: string; readonly resourceVersion: string }
  /** Nothing changed up to there; the version may be empty, as if nothing had been said. */
  | { readonly type: 'bookmark'; readonly resourceVersion: string };

const eventSchema = z.object({ type: z.string(), object: z.unknown() });
const bookmarkSchema = z.object({ metadata: z.object({ resourceVersion: z.string().min(1) }) });

/** @throws what the server says in an event of type ERROR, as if it were an answer; and if it is no event */
export function readEvent(line: unknown): SliceEvent {
  const { data: event } = eventSchema.safeParse(line);
  if (event === undefined) throw apiNonsense('a line that is no event');
  const { type, object } = event;
  if (type === 'ERROR') {
    const { code, message = 'no reason given' } = readStatus(object);
    throw apiFailure(`the API server ended the watch: ${message}`, { upstreamStatus: code });
  }
  if (type === 'BOOKMARK') {
    const { data } = bookmarkSchema.safeParse(object);
    if (data === undefined) throw apiNonsense('a bookmark without a version');
    return { type: 'bookmark', ...data.metadata };
  }
  // Of a kind that later versions may have: it says nothing that is understood here.
  if (type !== 'ADDED' && type !== 'MODIFIED' && type !== 'DELETED') return { type: 'bookmark', resourceVersion: '' };
  const slice = readSlice(object);
  if (slice === undefined) throw apiNonsense('an event that is none of an EndpointSlice');
  const { name, resourceVersion } = slice;
  return type === 'DELETED' ? { type: 'removed', name, resourceVersion } : { type: 'set', slice, resourceVersion };
}
