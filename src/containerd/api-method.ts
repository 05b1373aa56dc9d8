import protobuf from 'protobufjs';

/** One method: its path, and how its messages are written and read. */
export interface Method<Request, Answer> {
  readonly path: string;
  readonly serialize: (request: Request) => Buffer;
  readonly deserialize: (bytes: Buffer) => Answer;
}

/** A function that makes the methods of an API. @param proto its messages, in their package */
export function methodsOf(proto: string) {
  const { root, package: name } = protobuf.parse(proto);
  return <Request extends object, Answer>(path: string, request: string, answer: string): Method<Request, Answer> => {
    const requestType = root.lookupType(`${name}.${request}`);
    const answerType = root.lookupType(`${name}.${answer}`);
    return {
      path,
      serialize: (message) => Buffer.from(requestType.encode(requestType.create(message)).finish()),
      deserialize: (bytes) =>
        answerType.toObject(answerType.decode(bytes), { longs: Number, defaults: true, objects: true }) as Answer,
    };
  };
}
