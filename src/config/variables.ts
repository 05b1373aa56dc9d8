import { decode } from './decode.ts';
import { type Fault, nearest } from './fault.ts';
import type { Given, Source } from './given.ts';
import { SETTING_KEYS } from './setting-keys.ts';

const PREFIX = 'WINDLASS_';
const CONFIG_VARIABLE = 'WINDLASS_CONFIG';
const VARIABLES = new Map(SETTING_KEYS.map((setting) => [setting.variable, setting]));

/**
 * What Kubernetes puts into every container for a Service named windlass or windlass-something, unasked:
 * WINDLASS_SERVICE_HOST, WINDLASS_PEER_PORT_5051_TCP_ADDR, WINDLASS_PORT=tcp://… They are nobody's settings.
 * No setting's variable looks so, but for WINDLASS_DISCOVERY_DNS_PORT, and there tcp://… would be wrong.
 */
const SERVICE_LINK = /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/;

/** Every WINDLASS_ variable. An empty one is a value like any other. */
export function readVariables(env: Readonly<Record<string, string | undefined>>): Source {
  const given = new Map<string, Given>();
  const faults: Fault[] = [];
  let configFile: Given | undefined;

  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith(PREFIX) || text === undefined) continue;
    const origin = `variable ${name}`;
    const setting = VARIABLES.get(name);
    if (isServiceLink(name, text)) continue;
    if (setting !== undefined) given.set(setting.key, { value: decode(text, setting.form), origin });
    else if (name === CONFIG_VARIABLE) configFile = { value: text, origin };
    else faults.push(unknownVariable(name, text));
  }
  return { given, faults, configFile };
}

function isServiceLink(name: string, text: string): boolean {
  return SERVICE_LINK.test(name) || (name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(text));
}

function unknownVariable(name: string, value: string): Fault {
  const guess = nearest(name, [...VARIABLES.keys(), CONFIG_VARIABLE]);
  const hint = guess === undefined ? 'unset it' : `did you mean ${guess}?`;
  return { key: name, origin: 'environment', value, right: `there is no such setting; ${hint}` };
}
