import { describe, expect, it } from 'vitest';
import { Metrics } from '../../../src/metrics/metrics.ts';

describe('metrics', () => {
  it('begin at 0 where a first failure must show as an increase', async () => {
    const text = await new Metrics().registry.metrics();
    for (const sample of [
      'windlass_verification_failures_total{source="upstream"} 0',
      'windlass_ingests_total{result="failed"} 0',
      'windlass_ingest_resumes_total{reason="stall"} 0',
      'windlass_tag_lookups_total{result="stale"} 0',
      'windlass_store_pass_through_total 0',
      'windlass_claims_total{answer="self"} 0',
      'windlass_takeovers_total{reason="broken"} 0',
      'windlass_peer_blamed_total{reason="wrong"} 0',
      'windlass_peer_refused_total{plane="p2p",reason="stranger"} 0',
      'windlass_peer_refused_total{plane="data",reason="stranger"} 0',
    ]) {
      expect(text.split('\n')).toContain(sample);
    }
  });

  it('begin at 0 for each registry that is expected, so that the first answer shows in a rate', async () => {
    const metrics = new Metrics();
    metrics.expectRegistry('docker.io');
    const lines = (await metrics.registry.metrics()).split('\n');
    for (const sample of [
      'windlass_upstream_requests_total{registry="docker.io",kind="blob",method="GET",status="200"} 0',
      'windlass_upstream_requests_total{registry="docker.io",kind="manifest",method="HEAD",status="200"} 0',
      'windlass_upstream_requests_total{registry="docker.io",kind="manifest",method="GET",status="error"} 0',
      'windlass_upstream_received_bytes_total{registry="docker.io"} 0',
      'windlass_upstream_first_byte_seconds_count{registry="docker.io"} 0',
    ]) {
      expect(lines).toContain(sample);
    }
  });

  it('have only labels whose values are few, whatever peers, clients and registries do', () => {
    const few = [
      // Words of ours.
      'answer',
      'kind',
      'method',
      'path',
      'plane',
      'reason',
      'result',
      'source',
      'zone',
      // Codes of errors, and of HTTP (status-label.ts).
      'code',
      'status',
      // Entries of the settings.
      'registry',
    ];
    // Of this agent itself, and of the first ten peers that are left out.
    const named = ['windlass_agent_info', 'windlass_peers_left_out'];
    const ours = Object.values(new Metrics()).filter((value) => 'labelNames' in value);
    expect(ours.length).toBeGreaterThan(40);
    for (const { name, labelNames } of ours as unknown as { name: string; labelNames: string[] }[]) {
      if (!named.includes(name)) expect(few, name).toEqual(expect.arrayContaining(labelNames));
    }
  });

  it('all of ours begin with windlass_, and two agents in one process share none', async () => {
    const [one, other] = [new Metrics(), new Metrics()];
    one.storePassed.inc();
    const own = (await one.registry.getMetricsAsJSON()).map(({ name }) => name);
    expect(own.filter((name) => !/^(windlass|process|nodejs)_/.test(name))).toEqual([]);
    expect(await other.registry.metrics()).toContain('windlass_store_pass_through_total 0');
  });
});
