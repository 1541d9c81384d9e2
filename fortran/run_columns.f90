! Loads an exported model through FTorch and runs the columns of a file in E3SM's array layout,
! in(ncol, nin) and out(ncol, nout), compares with what Python computed, and times itself.
!
!   run_columns MODEL COLUMNS [REPETITIONS]
!
! COLUMNS is written by write_columns.py: three 4-byte integers ncol, nin, nout, then in and the
! expected out in single precision, in Fortran's order of elements. Exit code 1: values differ.
program run_columns

  use, intrinsic :: iso_fortran_env, only: sp => real32, int32, int64, error_unit
  use, intrinsic :: ieee_arithmetic, only: ieee_is_finite
  use ftorch, only: torch_model, torch_tensor, torch_kCPU, torch_delete, &
                    torch_tensor_from_array, torch_model_load, torch_model_forward

  implicit none

  integer, parameter :: layout(2) = [1, 2]
  real(sp), parameter :: tolerance = 1.0e-5_sp

  character(len=1024) :: model_path, columns_path, text
  integer(int32) :: ncol, nin, nout
  integer :: unit, status, repetitions, repetition, feature
  integer(int64) :: start, finish, rate
  real(sp), dimension(:,:), allocatable, target :: in_data, out_data
  real(sp), dimension(:,:), allocatable :: expected
  real(sp) :: difference, worst, scale
  type(torch_model) :: model
  type(torch_tensor) :: in_tensors(1), out_tensors(1)

  if (command_argument_count() < 2) then
    write (error_unit, '(a)') 'usage: run_columns MODEL COLUMNS [REPETITIONS]'
    stop 2
  end if
  call get_command_argument(1, model_path)
  call get_command_argument(2, columns_path)
  repetitions = 3
  if (command_argument_count() > 2) then
    call get_command_argument(3, text)
    read (text, *) repetitions
  end if

  open (newunit=unit, file=trim(columns_path), access='stream', form='unformatted', &
        status='old', action='read', iostat=status)
  if (status /= 0) then
    write (error_unit, '(3a)') 'run_columns: ', trim(columns_path), ': cannot be opened'
    stop 2
  end if
  read (unit) ncol, nin, nout
  allocate (in_data(ncol, nin), out_data(ncol, nout), expected(ncol, nout))
  read (unit) in_data
  read (unit) expected
  close (unit)

  ! Load once, call many times: this is where the time of a coupled run would otherwise go.
  call torch_model_load(model, trim(model_path), torch_kCPU)
  call torch_tensor_from_array(in_tensors(1), in_data, layout, torch_kCPU)
  call torch_tensor_from_array(out_tensors(1), out_data, layout, torch_kCPU)
  out_data = -huge(1.0_sp)
  call torch_model_forward(model, in_tensors, out_tensors)

  call system_clock(start, rate)
  do repetition = 1, repetitions
    call torch_model_forward(model, in_tensors, out_tensors)
  end do
  call system_clock(finish)

  ! Relative to the largest value of each feature: features differ by ten orders of magnitude.
  worst = 0.0_sp
  do feature = 1, nout
    scale = max(maxval(abs(expected(:, feature))), tiny(1.0_sp))
    difference = maxval(abs(out_data(:, feature) - expected(:, feature))) / scale
    worst = max(worst, difference)
  end do
  if (.not. all(ieee_is_finite(out_data))) worst = huge(1.0_sp)

  write (*, '(a,i0,a,i0,a,i0)') 'columns ', ncol, ', inputs ', nin, ', outputs ', nout
  write (*, '(a,es10.3)') 'largest relative difference ', worst
  if (repetitions > 0) then
    write (*, '(a,f12.1)') 'columns per second ', &
      real(ncol * repetitions) / (real(finish - start) / real(rate))
  end if

  call torch_delete(in_tensors)
  call torch_delete(out_tensors)
  call torch_delete(model)
  if (worst > tolerance) then
    write (error_unit, '(a,es10.3)') 'run_columns: differs from Python by more than ', tolerance
    stop 1
  end if

end program run_columns
