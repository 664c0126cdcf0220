// The tables of one instruction set, and the functions by which the files of this folder fill them. They are the only
// ones that an instruction set exports. Every table has functions of its own, so that linkers find out which are used.
#pragma once

#include "kernel_table.hpp"

namespace lstmcore {
namespace LSTMCORE_ISA {

const kernels::KernelTable& kernel_table();
const kernels::Kernels<float>& kernels_f32();
const kernels::Kernels<double>& kernels_f64();
const kernels::TrainingKernels<float>& training_f32();
const kernels::TrainingKernels<double>& training_f64();

void put_products(kernels::KernelTable& table);
void put_products(kernels::Kernels<float>& table);
void put_products(kernels::Kernels<double>& table);
void put_products(kernels::TrainingKernels<float>& table);
void put_products(kernels::TrainingKernels<double>& table);

void put_elementwise(kernels::KernelTable& table);
void put_elementwise(kernels::Kernels<float>& table);
void put_elementwise(kernels::Kernels<double>& table);
void put_elementwise(kernels::TrainingKernels<float>& table);
void put_elementwise(kernels::TrainingKernels<double>& table);

void put_tangent(kernels::TrainingKernels<float>& table);
void put_tangent(kernels::TrainingKernels<double>& table);

}  // namespace LSTMCORE_ISA
}  // namespace lstmcore
