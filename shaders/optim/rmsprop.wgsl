// RMSProp (Hinton 2012; centered: Graves 2013), as PyTorch computes it.
//
//   s = alpha s + (1 - alpha) g²
//   centered: a += (1 - alpha) (g - a), and v = s - a², else v = s
//   d = g / (√v + eps)
//   with momentum: b = momentum b + d, and b takes d's place
//   p -= lr d
//
// v is taken as 0 where rounding makes it negative; a NaN in s or a stays. Bytes an element, f32: 20, and 8 more with momentum and
// if centered.
#import shared/maximum

fn scaled_gradient(k: Step, g: vec4<f32>, square_avg: ptr<function, vec4<f32>>) -> vec4<f32> {
    *square_avg = k.alpha * *square_avg + k.one_minus_alpha * g * g;
    return g / (sqrt(*square_avg) + vec4(k.eps));
}

fn centered_gradient(k: Step, g: vec4<f32>, square_avg: ptr<function, vec4<f32>>, grad_avg: ptr<function, vec4<f32>>) -> vec4<f32> {
    *square_avg = k.alpha * *square_avg + k.one_minus_alpha * g * g;
    *grad_avg += k.one_minus_alpha * (g - *grad_avg);
    return g / (sqrt(not_negative(*square_avg - *grad_avg * *grad_avg)) + vec4(k.eps));
}

#ifdef MOMENTUM
#ifdef CENTERED
fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, square_avg: ptr<function, vec4<f32>>, momentum_buffer: ptr<function, vec4<f32>>, grad_avg: ptr<function, vec4<f32>>) {
    let d = centered_gradient(k, g, square_avg, grad_avg);
#else
fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, square_avg: ptr<function, vec4<f32>>, momentum_buffer: ptr<function, vec4<f32>>) {
    let d = scaled_gradient(k, g, square_avg);
#endif
    *momentum_buffer = k.momentum * *momentum_buffer + d;
    *p -= k.lr * *momentum_buffer;
}
#else
#ifdef CENTERED
fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, square_avg: ptr<function, vec4<f32>>, grad_avg: ptr<function, vec4<f32>>) {
    *p -= k.lr * centered_gradient(k, g, square_avg, grad_avg);
}
#else
fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, square_avg: ptr<function, vec4<f32>>) {
    *p -= k.lr * scaled_gradient(k, g, square_avg);
}
#endif
#endif
