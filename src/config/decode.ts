import type { Form } from './setting-types.ts';

/**
 * What a text in a flag or variable stands for. Text that is no number, boolean or JSON stays text, for the
 * schema to refuse by name.
 *
 * Lists are JSON, or plain strings between commas. `[::1]:5050` begins like JSON and is none.
 */
export function decode(text: string, form: Form): unknown {
  switch (form.decode) {
    case 'text':
      return text;
    case 'number':
      return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text;
    case 'list':
      return decodeList(text);
  }
}

function decodeList(text: string): unknown {
  if (/^\s*(\{|\[\s*["{\]])/.test(text)) {
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }
  return text.trim() === '' ? [] : text.split(',').map((item) => item.trim());
}
