/** Loaded before an agent (`--import`): whatever it publishes is lost. */

import { GossipNews } from '../../src/routing/control/gossip-news.ts';

GossipNews.prototype.publish = () => true;
