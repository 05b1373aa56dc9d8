/** A run of its own that makes a network and waits to be killed: see lab.test.ts. */
import { Scratch } from '../../support/scratch.ts';
import { LabNetwork } from './network.ts';

const scratch = await Scratch.create();
const network = await LabNetwork.create(scratch, ['n0', 'n1']);
console.log(JSON.stringify({ namespaces: network.hosts.map(({ namespace }) => namespace), folder: scratch.path }));
setInterval(() => {}, 60_000);
