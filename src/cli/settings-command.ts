import { Command } from 'commander';

/**
 * A command that goes by the agent's settings, which it finds in its `args`: settings are no options of commander's, for
 * all their faults are reported together, with those of the file.
 */
export function settingsCommand(name: string): Command {
  return new Command(name).usage('[--config FILE] [--SETTING VALUE]…').allowUnknownOption().allowExcessArguments();
}
