use super::op::Window;
use super::template::{Operand, Template};
pub(crate) struct Planes {
    pub planes: u32,
    pub input: Vec<u32>,
    pub output: Vec<u32>,
    pub window: Window,
}
pub(crate) fn pool(_: bool, _: &Planes, _: &Operand) -> Template {
    todo!()
}
pub(crate) fn unpool(_: bool, _: &Planes, _: &Operand) -> Template {
    todo!()
}
pub(crate) fn max_pool_indices(_: bool, _: &Planes, _: &Operand) -> Template {
    todo!()
}
pub(crate) fn pool_select(_: bool, _: &Planes, _: &Operand, _: &Operand) -> Template {
    todo!()
}
pub(crate) fn pool_scatter(_: bool, _: &Planes, _: &Operand, _: &Operand) -> Template {
    todo!()
}
