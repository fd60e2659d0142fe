// y[i] = map(y[i], x[i], i) for the words of a range. Workgroups of 256 stride over blocks of
// constants.block cells, of which runs of invocations take a part each (see shared/runs.wgsl).
// SOURCE: there is an x. SHARED: x and y are ranges of one buffer, which is bound once, as y. WRITE_ONLY: y is not read.
// The importing kernel supplies `map`. Deterministic: a word is the work of one invocation.

#import shared/words
#import shared/runs

#ifdef SOURCE
#ifndef SHARED
@group(0) @binding(1) var<storage, read> x: array<Words>;
#endif
#endif
@group(0) @binding(2) var<storage, read_write> y: array<Words>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let own = run_of_block(lane, constants.block);
    for (var block = group.x * constants.block; block < constants.count; block += groups.x * constants.block) {
        let end = min(block + own.y, constants.count);
        for (var i = block + own.x; i < end; i += RUN) {
            let at = constants.y + i;
#ifdef SOURCE
#ifdef SHARED
            let source = y[constants.x + i];
#else
            let source = x[constants.x + i];
#endif
#else
            let source = Words(0u);
#endif
#ifdef WRITE_ONLY
            var result = map(Words(0u), source, i);
#else
            var result = map(y[at], source, i);
#endif
#ifdef PARTIAL
            result = (y[at] & ~constants.mask) | (result & constants.mask);
#endif
            y[at] = result;
        }
    }
}
