/** Paths and headers between agents' data planes, beside those of membership.ts. */
export const API_PATH = '/windlass/v1/';
export const BLOBS_PATH = '/windlass/v1/blobs/';
/** Answered with 204: who is there, before anything is said to it. */
export const HELLO_PATH = '/windlass/v1/hello';

/** Of the blob, in bytes; left out where it is not known. */
export const SIZE_HEADER = 'windlass-size';
/** The first byte that the reader is after. */
export const OFFSET_HEADER = 'windlass-offset';
/** The peer whose seat is taken. */
export const REPLACES_HEADER = 'windlass-replaces';
/** How long the caller waits, in ms. */
export const TIMEOUT_HEADER = 'windlass-timeout';
