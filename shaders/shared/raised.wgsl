// x^y of an x that is not negative; 0^0 = 1.
#import shared/elementary

fn raised(x: f32, y: f32) -> f32 {
    return select(exponential(y * logarithm(max(x, 1e-37))), select(0.0, 1.0, y == 0.0), x == 0.0);
}
