//! One branch of a soak: its agent, its bad line, its writers.
//! Owns killing the agent and starting it again under load. Invariant: an agent that is killed was running; one
//! that ended by itself is a violation. When to kill is the soak's.

use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::report::{Report, Traffic};
use crate::drill::{Load, Writers, Written};
use crate::fleet::{Branch, Cloud, Memory, PATIENCE};
use crate::proxy::{Proxy, ProxyConfig};
use crate::sim::entropy::Entropy;

/// Processes that record at a branch.
const WRITERS: u8 = 2;
/// Together some thirty acts a second: an hour of it can be audited.
const LOAD: Load = Load { burst_max: 3, pause_millis_max: 100, rest_millis_max: 250 };
/// An agent is away for at most so long.
const AWAY_MILLIS_MAX: u64 = 500;

/// A branch, and what is around it.
pub(super) struct Site {
    name: String,
    pub(super) branch: Branch,
    pub(super) line: Proxy,
    runtime: Runtime,
    writers: Writers,
    pub(super) kills: u64,
    memory: u64,
}

impl Site {
    /// Joins a branch over a line of its own, and begins to record there.
    pub(super) fn open(dir: &Path, cloud: &mut Cloud, number: u8, loss: f64, seed: u64) -> Self {
        let name = format!("branch-{number}");
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime for a line");
        let config = ProxyConfig {
            loss,
            delay: Duration::from_millis(20 * (u64::from(number) + 1)),
            jitter: Duration::from_millis(15),
            duplicate: 0.01,
            reorder: 0.02,
            ..ProxyConfig::clean(cloud.addr(), seed.wrapping_add(number.into()))
        };
        let line = runtime.block_on(Proxy::start(config)).expect("a port for a line");
        cloud.publish_as(line.addr());
        let branch = Branch::joined(dir.join(&name), &cloud.enroll(&name));
        let first = number * WRITERS;
        let writers = Writers::start(&branch, LOAD, first..first + WRITERS, seed);
        Self { name, branch, line, runtime, writers, kills: 0, memory: 0 }
    }

    /// Kills the agent and starts it again.
    pub(super) fn kill(&mut self, entropy: &mut Entropy, report: &mut Report) {
        self.look_at_agent(report);
        self.branch.kill_9();
        let Self { writers, branch, .. } = self;
        writers.hold_while(|| {
            std::thread::sleep(Duration::from_millis(entropy.below(AWAY_MILLIS_MAX)));
            branch.start();
        });
        self.kills += 1;
    }

    /// Notes what the agent takes; it must not have ended by itself.
    fn look_at_agent(&mut self, report: &mut Report) {
        let memory = self.branch.agent_id().map(Memory::of).unwrap_or_default();
        self.memory = self.memory.max(memory.peak);
        if !self.branch.is_running() {
            report.audit.violations.push(format!("the agent of {} has ended by itself", self.name));
        }
    }

    /// Ends writers and line once all is in sync; tells of both.
    pub(super) fn close(mut self, report: &mut Report) -> (String, Branch, Written) {
        self.look_at_agent(report);
        let Self { name, branch, line, runtime, writers, kills, memory } = self;
        let written = writers.stop();
        branch.wait_synced(PATIENCE);
        report.branch_kills.push(kills);
        report.branch_memory.push(memory);
        report.traffic.push(Traffic::of(&line.stats()));
        drop((line, runtime));
        (name, branch, written)
    }
}
