import { decode } from './decode.ts';
import { type Fault, nearest } from './fault.ts';
import type { Given, Source } from './given.ts';
import { SETTING_KEYS } from './setting-keys.ts';

const CONFIG_FLAG = '--config';
const FLAGS = new Map(SETTING_KEYS.map((setting) => [setting.flag, setting]));

/**
 * `--store.max-size 20GiB`, `--store.max-size=20GiB`; a boolean may stand alone for true; a list's flag may be
 * repeated, any other may not.
 * @param args what follows the command.
 */
export function readFlags(args: readonly string[]): Source {
  const given = new Map<string, Given>();
  const faults: Fault[] = [];
  let configFile: Given | undefined;

  for (let index = 0; index < args.length; index++) {
    const arg = args[index] ?? '';
    const equals = arg.indexOf('=');
    const flag = equals === -1 ? arg : arg.slice(0, equals);
    const origin = `flag ${flag}`;
    const setting = FLAGS.get(flag);
    if (setting === undefined && flag !== CONFIG_FLAG) {
      faults.push(unknownFlag(arg, flag));
      // Its value is no fault of its own.
      if (flag.startsWith('--') && equals === -1 && !(args[index + 1] ?? '-').startsWith('-')) index++;
      continue;
    }

    let text: string | undefined = equals === -1 ? undefined : arg.slice(equals + 1);
    if (text === undefined) {
      const next = args[index + 1];
      if (next !== undefined && !next.startsWith('--')) {
        text = next;
        index++;
      } else if (setting?.form.decode === 'boolean') text = 'true';
    }
    if (text === undefined) {
      faults.push({ key: setting?.key ?? 'config', origin, right: `give it a value: ${flag} VALUE, or ${flag}=VALUE` });
    } else if (setting === undefined) {
      if (configFile !== undefined) faults.push(givenTwice('config', origin, text));
      configFile = { value: text, origin };
    } else {
      const value = decode(text, setting.form);
      const earlier = given.get(setting.key);
      if (earlier === undefined) given.set(setting.key, { value, origin });
      else if (setting.form.decode !== 'list') faults.push(givenTwice(setting.key, origin, text));
      else given.set(setting.key, { value: [earlier.value, value].flat(), origin });
    }
  }
  return { given, faults, configFile };
}

function unknownFlag(arg: string, flag: string): Fault {
  if (!flag.startsWith('-')) {
    return { key: arg, origin: 'command line', right: 'flags begin with --; nothing else is expected here' };
  }
  const guess = nearest(flag, [...FLAGS.keys(), CONFIG_FLAG]);
  return {
    key: flag,
    origin: 'command line',
    right:
      guess === undefined
        ? 'there is no such flag; --help lists them'
        : `there is no such flag; did you mean ${guess}?`,
  };
}

function givenTwice(key: string, origin: string, value: string): Fault {
  return { key, origin, value, right: 'it is given twice; give it once' };
}
