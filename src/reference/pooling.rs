//! Pooling over the spatial axes, by its definitions.
//!
//! A value is `planes` planes, one after another, each of one to three axes, row-major, the slowest first. Along
//! each axis window o begins at `o·stride - padding` and has `size` elements; what is outside the plane counts
//! as nothing.
//!
//! ```
//! use gradus::reference::pooling::{Windows, max_pool_indices, pool, unpool};
//!
//! let pairs = Windows { planes: 1, input: &[4], output: &[2], size: &[2], stride: &[2], padding: &[0] };
//! assert_eq!(pool(&pairs, &[1.0, 2.0, 3.0, 4.0]), [3.0, 7.0]);
//! assert_eq!(unpool(&pairs, &[3.0, 7.0]), [3.0, 3.0, 7.0, 7.0]);
//! assert_eq!(max_pool_indices(&pairs, &[1.0, 2.0, 4.0, 4.0]), [1, 2]);
//! ```

/// Windows over planes.
#[derive(Clone, Copy, Debug)]
pub struct Windows<'a> {
    /// How many planes.
    pub planes: usize,
    /// The axes of a plane.
    pub input: &'a [usize],
    /// How many windows along each axis.
    pub output: &'a [usize],
    /// The elements of a window along each axis.
    pub size: &'a [usize],
    /// From window to window.
    pub stride: &'a [usize],
    /// How far the first window begins before the plane.
    pub padding: &'a [usize],
}

impl Windows<'_> {
    /// Calls `visit(window, plane, position)` for each window, counted over all planes, and each position of its
    /// plane that it covers, in row-major order.
    fn for_each(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let windows: usize = self.output.iter().product();
        for plane in 0..self.planes {
            for window in 0..windows {
                for k in 0..self.size.iter().product() {
                    if let Some(position) = self.position(window, k) {
                        visit(plane * windows + window, plane, position);
                    }
                }
            }
        }
    }

    /// Where element k of a window is, if it is in the plane.
    fn position(&self, window: usize, k: usize) -> Option<usize> {
        let at = coordinates(window, self.output);
        let offset = coordinates(k, self.size);
        let mut position = 0;
        for axis in 0..self.input.len() {
            let i = (at[axis] * self.stride[axis] + offset[axis]).checked_sub(self.padding[axis])?;
            if i >= self.input[axis] {
                return None;
            }
            position = position * self.input[axis] + i;
        }
        Some(position)
    }

    fn plane(&self) -> usize {
        self.input.iter().product()
    }

    fn windows(&self) -> usize {
        self.planes * self.output.iter().product::<usize>()
    }
}

/// Of the element at a row-major position.
fn coordinates(mut position: usize, axes: &[usize]) -> Vec<usize> {
    let mut at = vec![0; axes.len()];
    for axis in (0..axes.len()).rev() {
        at[axis] = position % axes[axis];
        position /= axes[axis];
    }
    at
}

/// The sum over each window.
///
/// # Panics
///
/// If `x` is shorter than the planes.
pub fn pool(w: &Windows, x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; w.windows()];
    w.for_each(|window, plane, position| y[window] += x[plane * w.plane() + position]);
    y
}

/// The adjoint of [`pool`]: each window's value is added to all that it covers.
///
/// # Panics
///
/// If `y` is shorter than the windows.
pub fn unpool(w: &Windows, y: &[f64]) -> Vec<f64> {
    let mut x = vec![0.0; w.planes * w.plane()];
    w.for_each(|window, plane, position| x[plane * w.plane() + position] += y[window]);
    x
}

/// Where in its plane each window's maximum is: the first of equals, and the last of NaNs if there is one, as in
/// PyTorch's loop `if (value > max || isnan(value)) { max = value; index = position; }`, which starts with
/// -∞ and the first position.
///
/// # Panics
///
/// If `x` is shorter than the planes.
pub fn max_pool_indices(w: &Windows, x: &[f64]) -> Vec<usize> {
    let mut best: Vec<Option<(f64, usize)>> = vec![None; w.windows()];
    w.for_each(|window, plane, position| {
        let value = x[plane * w.plane() + position];
        if best[window].is_none_or(|(max, _)| value > max || value.is_nan()) {
            best[window] = Some((value, position));
        }
    });
    best.into_iter().map(|best| best.map_or(0, |(_, position)| position)).collect()
}

/// The element at each window's place.
///
/// # Panics
///
/// If `x` is shorter than the planes, or a place is not in one.
pub fn pool_select(w: &Windows, x: &[f64], places: &[usize]) -> Vec<f64> {
    let windows = w.output.iter().product::<usize>();
    places.iter().enumerate().map(|(window, &place)| x[window / windows * w.plane() + place]).collect()
}

/// The adjoint of [`pool_select`]: each window's value is added to its place.
///
/// # Panics
///
/// If `y` is shorter than the places, or a place is not in a plane.
pub fn pool_scatter(w: &Windows, y: &[f64], places: &[usize]) -> Vec<f64> {
    let windows = w.output.iter().product::<usize>();
    let mut x = vec![0.0; w.planes * w.plane()];
    for (window, &place) in places.iter().enumerate() {
        x[window / windows * w.plane() + place] += y[window];
    }
    x
}
