//! scratch
use gradus::optim::*; use gradus::*;
#[test] fn adam() { pollster::block_on(async {
 let gpu = Gpu::headless().await.unwrap();
 println!("{gpu:?}");
 let p = Tensor::from_slice(&gpu,&[5],&[1f32,2.,3.,4.,5.]).unwrap();
 let g = Tensor::from_slice(&gpu,&[5],&[1f32,-2.,3.,-4.,5.]).unwrap();
 let o = Optimizer::new(&gpu,&AdamP::default(),&[Param::new("p",&p,&g)]).unwrap();
 println!("{o:?}");
 let mut e = gpu.device().create_command_encoder(&Default::default());
 o.step(&mut e); gpu.queue().submit([e.finish()]);
 println!("{:?}", p.read::<f32>(&gpu).await.unwrap());
})}
