// shared/gate.wgsl for kernels that may have no binding left for it: GATED where it is bound.

#permute - | GATED

#ifdef GATED
#import shared/gate
#else
fn is_over() -> bool {
    return false;
}
#endif
