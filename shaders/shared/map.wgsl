// y[i] = map(y[i], x[i], i) for the words of a range, workgroups of 256 striding over them.
// SOURCE: there is an x. SHARED: x and y are ranges of one buffer. WRITE_ONLY: y is not read.
// The importing kernel supplies `map`. Deterministic: a word is the work of one invocation.

#import shared/words

#ifdef SOURCE
#ifdef SHARED
@group(0) @binding(1) var<storage, read_write> x: array<Words>;
#else
@group(0) @binding(1) var<storage, read> x: array<Words>;
#endif
#endif
@group(0) @binding(2) var<storage, read_write> y: array<Words>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < constants.count; i += groups.x * 256u) {
        let at = constants.y + i;
#ifdef SOURCE
        let source = x[constants.x + i];
#else
        let source = Words(0u);
#endif
#ifdef WRITE_ONLY
        var result = map(Words(0u), source, i);
#else
        var result = map(y[at], source, i);
#endif
#ifdef SCALAR
        if i == constants.half {
            result = (y[at] & 0xffff0000u) | (result & 0xffffu);
        }
#endif
        y[at] = result;
    }
}
