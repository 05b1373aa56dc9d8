import { Command, CommanderError } from 'commander';
import { readVersion } from '../config/version.ts';
import { hasCode } from '../errors.ts';
import { messageOf } from './message-of.ts';
import { EXIT_LEFT } from './report-outcomes.ts';

const EXIT_OK = 0;
const EXIT_FAILURE = 1;
/** A command line or settings that cannot be used. */
const EXIT_USAGE = 2;

const MORE = 'windlass --help says more';

interface CommandEntry {
  readonly summary: string;
  /** Loads the command's code; the others' is left alone, so that each starts fast. */
  readonly load: () => Promise<Command>;
}

const COMMANDS: ReadonlyMap<string, CommandEntry> = new Map([
  ['agent', { summary: 'run the mirror of this node', load: async () => (await import('./agent.ts')).agentCommand() }],
  [
    'configure',
    {
      summary: "make this node's container runtime ask the mirror first",
      load: async () => (await import('./configure.ts')).configureCommand(),
    },
  ],
  [
    'cleanup',
    {
      summary: 'put back what was there before configure',
      load: async () => (await import('./cleanup.ts')).cleanupCommand(),
    },
  ],
  [
    'doctor',
    {
      summary: "say what is wrong with this node's settings, and how to mend it",
      load: async () => (await import('./doctor.ts')).doctorCommand(),
    },
  ],
  [
    'prepare-store',
    {
      summary: "make the store's folder, and give it to the agent's user",
      load: async () => (await import('./prepare-store.ts')).prepareStoreCommand(),
    },
  ],
  [
    'demo',
    {
      summary: 'watch an image travel: registry, agents, clients, all on this machine',
      load: async () => (await import('./demo.ts')).demoCommand(),
    },
  ],
  [
    'status',
    {
      summary: "show a node's peers, transfers, hit rate and totals",
      load: async () => (await import('./status.ts')).statusCommand(),
    },
  ],
  [
    'drop',
    {
      summary: 'remove a blob or a tag from the whole cluster',
      load: async () => (await import('./drop.ts')).dropCommand(),
    },
  ],
  [
    'make-secret',
    {
      summary: "in a Job of the chart: make the cluster's secret",
      load: async () => (await import('./make-secret.ts')).makeSecretCommand(),
    },
  ],
  [
    'remove-secret',
    {
      summary: "in a Job of the chart: remove the cluster's secret that make-secret made",
      load: async () => (await import('./remove-secret.ts')).removeSecretCommand(),
    },
  ],
  [
    'await-cleanup',
    {
      summary: 'in a Job of the chart: wait until all nodes are cleaned up',
      load: async () => (await import('./await-cleanup.ts')).awaitCleanupCommand(),
    },
  ],
]);

/**
 * Runs one command line to its end.
 * @param args without node and script.
 * @returns the exit code. What went wrong is on stderr already.
 */
export async function runProgram(args: readonly string[]): Promise<number> {
  try {
    const program = await createProgram(commandIn(args));
    await program.parseAsync([...args], { from: 'user' });
    const code = Number(process.exitCode ?? EXIT_OK);
    return code === EXIT_LEFT && program.opts().tolerateLeft === true ? EXIT_OK : code;
  } catch (error) {
    if (error instanceof CommanderError) {
      const asked = error.exitCode === 0;
      return asked ? EXIT_OK : EXIT_USAGE;
    }
    process.stderr.write(`windlass: ${messageOf(error)}\n`);
    return hasCode(error, 'INVALID_SETTINGS') ? EXIT_USAGE : EXIT_FAILURE;
  }
}

/** Options of the program itself come before it; none of them has a value. */
function commandIn(args: readonly string[]): string | undefined {
  return args.find((arg) => !arg.startsWith('-') && arg !== 'help');
}

async function createProgram(wanted: string | undefined): Promise<Command> {
  const program = new Command('windlass')
    .description('A registry mirror on every Kubernetes node: haul every image into the cluster once.')
    .version(readVersion())
    .option(
      '--tolerate-left',
      'before the command: exit with 0 also where something was left alone (else 3), as a Pod must that is not to be started again',
    )
    .enablePositionalOptions()
    .showHelpAfterError(MORE)
    .exitOverride();
  for (const [name, { summary, load }] of COMMANDS) {
    const command = name === wanted ? await load() : new Command(name).description(summary);
    program.addCommand(command.showHelpAfterError(MORE).exitOverride());
  }
  return program;
}
